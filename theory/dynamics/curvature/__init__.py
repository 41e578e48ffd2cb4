"""Second order: the Hessian of linear networks block by block, and what gradient descent does beyond its edge."""
