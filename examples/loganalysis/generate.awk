# Lines of a web server's log, the same ones whenever it runs, each as a JSON string:
# time, method, path, status, bytes and milliseconds. Some lines are damaged, as some
# always are. LINES is how many; a generator of its own decides everything.
function random(n) {
	state = (state * 1103515245 + 12345) % 2147483648
	return int(state / 65536) % n
}
BEGIN {
	state = 7
	if (!LINES) LINES = 2500
	split("/ /login /search /cart /checkout /img/logo.png /api/items /api/orders", paths, " ")
	for (i = 0; i < LINES; i++) {
		second = int(i * 3600 / LINES)
		path = paths[1 + random(8)]
		status = 200
		ms = 5 + random(40)
		if (path == "/checkout" && second >= 1800 && second < 2100 && random(3) == 0) {
			status = 503
			ms += 2000 + random(500)
		} else if (random(50) == 0) {
			status = 404
		} else if (path ~ "^/api") {
			ms += random(200)
		}
		line = sprintf("12:%02d:%02d GET %s %d %d %d", second / 60, second % 60, path, status, 200 + random(5000), ms)
		if (i % 625 == 624)
			line = substr(line, 1, 14)
		printf "\"%s\"\n", line
	}
}
