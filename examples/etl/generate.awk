# The orders of a night, the same ones whenever it runs: number, country, currency, cents.
function random(n) {
	state = (state * 1103515245 + 12345) % 2147483648
	return int(state / 65536) % n
}
BEGIN {
	state = 11
	countries = split("DE FR US GB CH", country, " ")
	split("EUR EUR USD GBP CHF", currency, " ")
	for (i = 1; i <= 400; i++) {
		k = 1 + random(countries)
		printf "%d,%s,%s,%d\n", i, country[k], currency[k], 500 + random(20000)
	}
}
