// Functions without a body (link.go) need an assembly file in their package.
