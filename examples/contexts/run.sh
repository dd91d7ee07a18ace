#!/bin/sh
# Four contexts as a dictionary each: push data into them, let each compute on
# its own and at the same time, look at what they hold, and gather it in a
# fifth. Everything they hold survives this script, a worker that dies, and a
# restart of farm. Start "farm dev" in another terminal first, or set FARM_ADDR.
#
#   FARM   the command to run, farm unless set
set -eu
farm=${FARM:-farm}

say() { printf '\n# %s\n' "$*"; }

say "Push: each context gets its own range of numbers, as variables."
lo=0
for c in c0 c1 c2 c3; do
	$farm set "$c" lo "$lo"
	lo=$((lo + 25000))
	$farm set "$c" hi "$lo"
done

say "Declare: a function, in all four. It stays until it is redefined."
$farm exec c0,c1,c2,c3 '
func isPrime(n int) bool {
	for d := 2; d*d <= n; d++ {
		if n%d == 0 {
			return false
		}
	}
	return n > 1
}'

say "Compute: the same cell in all four, each on its own variables."
$farm exec c0,c1,c2,c3 '
found, last := 0, 0
for n := lo; n < hi; n++ {
	if isPrime(n) {
		found++
		last = n
	}
}
found'

say "Look: a variable of all of them (a glob), or of one."
$farm get 'c?' found
$farm get c3 last

say "Gather: what they found, in order, as a list in a context of its own."
parts=$(for c in c0 c1 c2 c3; do $farm get "$c" found; done | paste -s -d, -)
$farm set primes parts "[$parts]"
$farm exec primes '
sum := 0
for _, p := range parts {
	sum += p
}
sum'
