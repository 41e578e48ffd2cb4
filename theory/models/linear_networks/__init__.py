"""Models of linear networks: what depth does to learning a linear map."""
