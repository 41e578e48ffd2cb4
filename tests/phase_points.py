"""One point (alpha, beta) inside each of the seven phases of power-law random features."""

PHASES = {
    "Ia": (0.8, 0.3),
    "Ib": (0.4, 0.3),
    "Ic": (0.2, 0.8),
    "II": (0.9, 0.6),
    "III": (0.7, 1.1),
    "IVa": (0.4, 1.0),
    "IVb": (0.27, 1.1),
}
