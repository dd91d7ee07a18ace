package main

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
)

// pictures is how many generate makes.
const pictures = 12

// generate writes pictures that are always the same, and one file that is none.
func generate(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for n := range pictures {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("waves%02d.png", n)))
		if err != nil {
			return err
		}
		if err := errors.Join(png.Encode(f, waves(n)), f.Close()); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "broken.png"), []byte("not a picture\n"), 0o644)
}

// waves is a pattern of integers alone, so that it is the same on every machine.
func waves(n int) image.Image {
	w, h := 320+16*n, 240
	p := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			v := x*x/(n+1) + y*y/(n+2)
			p.Set(x, y, color.RGBA{R: uint8(v), G: uint8(v >> 3), B: uint8(x ^ y), A: 255})
		}
	}
	return p
}
