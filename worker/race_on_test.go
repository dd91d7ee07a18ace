//go:build race

package worker

// raceDetector: the race detector's own memory is over the children's limits,
// and it ends them its own way.
const raceDetector = true
