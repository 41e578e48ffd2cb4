"""Numerical verification of a derivation, step by step, with NumPy alone; a part of every Python document.

Everything is a function of `values`, a mapping of names to arrays. A step is right if its gap vanishes:

    gradient   F = -d loss/du                      tangency    F_old(f(x)) = (df/dx) F_new(x)   for old = f(new)
    Euler      G(u) = u + eta F(u)                 projection  (dg/du) F_old(u) = F_new(g(u))   for new = g(old)

Derivatives are central differences of fourth order, so that a right step leaves a gap of about 1e-10.

>>> abs(derivative(lambda v: v["x"] ** 3, {"x": numpy.array(2.0)}, {"x": numpy.array(1.0)}) - 12) < 1e-9
np.True_
"""

import numpy


def derivative(function, values, direction, size=1e-3):
    """d/dh of function(values + h direction) at h = 0; the function gives an array or a mapping of arrays."""

    def at(h):
        return function({**values, **{name: values[name] + h * direction[name] for name in direction}})

    points = [(at(h * size), weight) for h, weight in ((-2, 1.0), (-1, -8.0), (1, 8.0), (2, -1.0))]
    if isinstance(points[0][0], dict):
        return {name: sum(w * p[name] for p, w in points) / (12 * size) for name in points[0][0]}
    return sum(w * p for p, w in points) / (12 * size)


def relative(found, wanted):
    """Largest difference over the largest of both, for arrays or mappings of arrays."""
    if isinstance(wanted, dict):
        return max(relative(found[name], wanted[name]) for name in wanted)
    scale = max(numpy.max(numpy.abs(found)), numpy.max(numpy.abs(wanted)), 1e-12)
    gap = float(numpy.max(numpy.abs(found - wanted)) / scale)
    return gap if numpy.isfinite(gap) else numpy.inf


def gradient_gap(loss, rates, values, paces=None, copies=1.0):
    """Rates of a gradient flow against the differences of its loss, along random directions.

    `paces` is a learning rate for each unknown; `copies` says how many equal parameters every unknown stands for.
    """
    rng, worst = numpy.random.default_rng(7), 0.0
    for name, rate in rates(values).items():
        directions = [rng.standard_normal(numpy.shape(values[name])) for _ in range(4)]
        stated = numpy.array([numpy.sum(rate * d) for d in directions])
        actual = numpy.array([numpy.sum(derivative(loss, values, {name: d})) for d in directions])
        worst = max(worst, relative(stated, -actual * (paces[name] if paces else 1.0) / copies))
    return worst


def tangency_gap(before, after, images, values, kind):
    """Old = images(new): the old equations on the image against what the new ones do to it."""
    old = {**values, **images(values)}
    stated, moved = before(old), after(values)
    if kind == "flow":
        carried = derivative(images, values, {name: moved[name] * numpy.ones_like(values[name]) for name in moved})
    else:
        carried = images({**values, **moved})
    return max(relative(stated[name], carried[name] if name in carried else moved[name]) for name in stated)


def pullback_gap(before, after, images, values):
    """Old = images(new): gradient flow of the old variables, pulled back to the new ones by the chain rule."""
    rng, worst = numpy.random.default_rng(8), 0.0
    stated, moved = before({**values, **images(values)}), after(values)
    for name, rate in moved.items():
        directions = [rng.standard_normal(numpy.shape(values[name])) for _ in range(4)]
        bent = [derivative(images, values, {name: d}) for d in directions]
        wanted = [sum(numpy.sum(stated[old] * image[old]) for old in image) for image in bent]
        worst = max(worst, relative(numpy.array([numpy.sum(rate * d) for d in directions]), numpy.array(wanted)))
    return worst


def projection_gap(before, after, onto, values, kind):
    """New = onto(old): the change of the new variables under the old equations against the new equations."""
    moved = before(values)
    changed = derivative(onto, values, moved) if kind == "flow" else onto({**values, **moved})
    stated = after({**values, **onto(values)})
    return relative(stated, {name: changed[name] for name in stated})


def euler_gap(flow, step, values, size):
    """One step against u + size x rate."""
    return relative(step(values), {name: values[name] + size * rate for name, rate in flow(values).items()})


def order_gap(step, flow, values, order):
    """The time-eta flow against one step: halving eta must divide the difference by 2^(order + 2)."""
    errors = []
    small = {name: 0.6 * values[name] for name in step(values)}  # where the series in eta is a series
    for eta in (0.004, 0.002):
        now = {**values, **small, "eta": numpy.array(eta)}
        arrived = integrate(flow, now, [0.0, eta], 40)[-1]
        errors.append(max(float(numpy.max(numpy.abs(arrived[n] - new))) for n, new in step(now).items()))
    if errors[1] < 1e-15:
        return 0.0
    return max(0.0, 0.95 - numpy.log2(errors[0] / errors[1]) / (order + 2))


def modes_gap(polynomial, rule, three, values, name):
    """A polynomial about the first of three modes against the same rule for any number of modes."""
    return relative(rule({**values, **three(values)})[name][0], polynomial(values))


def limit_gap(before, after, values, name, extreme, clock):
    """Equations at an extreme value of a parameter, in the new time, against their limit."""
    found = before({**values, name: numpy.array(extreme)})
    return relative({unknown: rate / clock for unknown, rate in found.items()}, after(values))


def jacobian(step, values):
    """Matrix of a map's derivatives by its unknowns."""
    names = list(step(values))
    columns = [derivative(step, values, {name: numpy.array(1.0)}) for name in names]
    return numpy.array([[float(column[name]) for column in columns] for name in names])


def linear_gap(before, after, point, values):
    """A map linearised at a point against the derivative of the full map there."""
    unknowns = after(values)
    at = {**values, **{name: value * numpy.ones(()) for name, value in point(values).items()}}
    return relative(derivative(before, at, {name: values[name] for name in unknowns}), unknowns)


def rate_gap(flow, stated, point, values):
    """A stated rate of return to a rest point against the slope of the flow there."""
    at = {**values, **point(values)}
    slope = derivative(flow, at, {name: numpy.ones_like(value) for name, value in point(values).items()})
    return max(relative(-slope[name], value) for name, value in zip(slope, stated(values).values(), strict=True))


def polynomial_gap(step, polynomial, values):
    """The characteristic polynomial det(z - J) of a linear map."""
    matrix = jacobian(step, values)
    return relative(numpy.linalg.det(values["z"] * numpy.eye(len(matrix)) - matrix), polynomial(values))


def crossing_gap(step, critical, values):
    """The largest root of a linear map is on the unit circle at the critical value and inside it just below."""
    ((name, value),) = critical(values).items()
    radii = [max(abs(numpy.linalg.eigvals(jacobian(step, {**values, name: f * value})))) for f in (1.0, 0.99)]
    return float(abs(radii[0] - 1)) if radii[1] < 1 else numpy.inf


def oscillation_gap(step, critical, values):
    """Roots that decide the motion are positive below the critical value; just above, one is negative or complex."""
    ((name, value),) = critical(values).items()

    def steady(factor):
        roots = numpy.linalg.eigvals(jacobian(step, {**values, name: factor * value}))
        return bool(numpy.all((abs(roots.imag) < 1e-6) & (roots.real > -1e-6)))

    return 0.0 if steady(0.99) and not steady(1.01) else numpy.inf


def conserved_gap(quantity, rates, values):
    """Change of a quantity along the flow, in units of what its terms change by."""
    moved = rates(values)
    whole = derivative(quantity, values, moved)
    parts = [derivative(quantity, values, {name: rate}) for name, rate in moved.items()]
    return float(numpy.max(numpy.abs(whole)) / max(max(numpy.max(numpy.abs(part)) for part in parts), 1e-12))


def integrate(rates, values, times, substeps=2000):
    """Classical Runge-Kutta of fourth order; one mapping of unknowns for every time."""
    unknowns = tuple(rates(values))
    state, found = {name: values[name] * 1.0 for name in unknowns}, []
    for start, end in zip([times[0], *times[:-1]], times, strict=True):
        h = (end - start) / substeps
        for _ in range(substeps if h else 0):
            k1 = rates({**values, **state})
            k2 = rates({**values, **{n: state[n] + h / 2 * k1[n] for n in unknowns}})
            k3 = rates({**values, **{n: state[n] + h / 2 * k2[n] for n in unknowns}})
            k4 = rates({**values, **{n: state[n] + h * k3[n] for n in unknowns}})
            state = {n: state[n] + h / 6 * (k1[n] + 2 * k2[n] + 2 * k3[n] + k4[n]) for n in unknowns}
        found.append(dict(state))
    return found


def iterate(step, values, steps):
    """The unknowns after 0, 1, ... steps of a map."""
    state, found = {name: values[name] * 1.0 for name in step(values)}, []
    for _ in range(steps + 1):
        found.append(dict(state))
        state = step({**values, **state})
    return found


def solution_gap(rates, solution, start, values, clock):
    """What a stated solution leaves of the flow: its derivative by the clock against the rates at the solution."""
    values = {**values, **start(values)}
    return relative(rates({**values, **solution(values)}), derivative(solution, values, {clock: 1.0}))


def bisect(residual, values, name, low=1e-8, high=1e8):
    """The positive root of a residual that changes its sign once between the bounds, in log space."""
    below = residual({**values, name: numpy.array(low)})[name]
    for _ in range(200):
        middle = numpy.sqrt(low * high)
        same = numpy.sign(residual({**values, name: numpy.array(middle)})[name]) == numpy.sign(below)
        low, high = (middle, high) if numpy.all(same) else (low, middle)
    return numpy.sqrt(low * high)


def stationary_gap(potential, residual, values, name):
    """Where the residual vanishes a potential is stationary: its derivative there against that at a tenth more."""
    root = bisect(residual, values, name)
    slopes = [derivative(potential, {**values, name: x}, {name: x}) for x in (root, 1.1 * root)]
    return float(abs(slopes[0]) / abs(slopes[1]))


def root_gap(residual, root, values):
    """What the residual leaves at a stated root, in units of what it is at twice that."""
    at, away = residual({**values, **root}), residual({**values, **{name: 2 * x for name, x in root.items()}})
    return max(float(numpy.max(numpy.abs(at[name]) / numpy.maximum(numpy.abs(away[name]), 1e-12))) for name in at)


def path_gap(closed_form, rule, values, name, kind, scale=0.2):
    """A closed form against the integrated flow or the iterated map, from a start well below the parameters."""
    start = {name: scale * values[name]}
    grid = [0.0, 0.5, 1.0, 2.0] if kind == "flow" else [0, 1, 2, 3, 4, 5]
    begun = {**values, **start}
    found = integrate(rule, begun, grid) if kind == "flow" else iterate(rule, begun, len(grid) - 1)
    return max(
        relative(closed_form(at, start, values)[name], state[name]) for at, state in zip(grid, found, strict=True)
    )


def time_gap(time, rule, values, name, scale=0.2):
    """An implicit law against the integrated flow: the time it gives for every state on the way."""
    start, grid = {name: scale * values[name]}, [0.5, 1.0, 2.0]
    states = integrate(rule, {**values, **start}, [0.0, *grid])[1:]
    gone = [(at, state, numpy.ones_like(state[name])) for at, state in zip(grid, states, strict=True)]
    return max(relative(time(state, start, values), at * ones) for at, state, ones in gone)


def verify(checks, tolerance=1e-6):
    """Print every check with its gap; the exit status is 0 if all of them pass."""
    failed = worst = count = 0
    for name, gap in checks:
        passed = gap < tolerance
        print(f"{'PASS' if passed else 'FAIL'}  {name}: {gap:.1e}")
        failed, worst, count = failed + (not passed), max(worst, gap), count + 1
    print(f"{'FAIL' if failed or not count else 'PASS'}: {count - failed} of {count} checks, largest gap {worst:.1e}")
    return int(bool(failed or not count))
