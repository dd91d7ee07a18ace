package main

import (
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// draw writes the diagram as SVG, or as what else the file's name says.
func draw(orbits []orbit, path string) error {
	p := plot.New()
	p.Title.Text = "Where x = r x (1 - x) settles"
	p.X.Label.Text = "r"
	p.Y.Label.Text = "x"
	s, err := plotter.NewScatter(dots(orbits))
	if err != nil {
		return err
	}
	s.Radius = vg.Points(0.4)
	s.Color = color.RGBA{B: 120, A: 255}
	p.Add(s)
	return p.Save(16*vg.Centimeter, 10*vg.Centimeter, path)
}

// dots are the points of the diagram; values that are all but the same are one.
func dots(orbits []orbit) (out plotter.XYs) {
	for _, o := range orbits {
		seen := map[int]bool{}
		for _, x := range o.Xs {
			if k := key(x); !seen[k] {
				seen[k] = true
				out = append(out, plotter.XY{X: o.R, Y: x})
			}
		}
	}
	return out
}

// key is the same for values that cannot be told apart in the drawing.
func key(x float64) int { return int(math.Round(x * 1000)) }

func points(orbits []orbit) int { return len(dots(orbits)) }

func distinct(o orbit) int { return len(dots([]orbit{o})) }

func nearest(orbits []orbit, r float64) (best orbit) {
	for _, o := range orbits {
		if math.Abs(o.R-r) < math.Abs(best.R-r) {
			best = o
		}
	}
	return best
}
