package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"log"
	"os"
	"path/filepath"
	"time"

	"farm/tasks"
)

// Request is what the handler is called with.
type Request struct {
	File string // a PNG picture
	Out  string // folder of the thumbnail
	Side int    // pixels of the longer side
}

// Thumbnail is what it returns.
type Thumbnail struct {
	File          string
	Width, Height int
	Sum           string // of the pixels
}

// handlers are what this program can do for a farm.
func handlers() *tasks.Mux {
	mux := tasks.NewMux()
	mux.Use(timed)
	tasks.Handle(mux, "thumbnail", thumbnail, tasks.StuckAfter(time.Minute))
	return mux
}

func work(ctx context.Context) error {
	c, err := dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Serve(ctx, handlers(), tasks.WorkerOptions{Slots: 4, Labels: map[string]string{"pictures": "yes"}})
}

// timed logs how long each call takes.
func timed(next tasks.HandlerFunc) tasks.HandlerFunc {
	return func(ctx context.Context, in json.RawMessage) (json.RawMessage, error) {
		began := time.Now()
		out, err := next(ctx, in)
		a := tasks.FromContext(ctx)
		log.Printf("%s, attempt %d: %v, %v", a.Task, a.Number, time.Since(began).Round(time.Millisecond), err)
		return out, err
	}
}

// thumbnail may run twice for one task, when a worker is lost: then it writes the
// same file again.
func thumbnail(ctx context.Context, r Request) (Thumbnail, error) {
	picture, err := read(r.File)
	if err != nil {
		return Thumbnail{}, err
	}
	small, err := shrink(ctx, picture, r.Side)
	if err != nil {
		return Thumbnail{}, err
	}
	t := Thumbnail{File: filepath.Join(r.Out, filepath.Base(r.File)), Width: small.Rect.Dx(), Height: small.Rect.Dy()}
	sum := sha256.Sum256(small.Pix)
	t.Sum = hex.EncodeToString(sum[:6])
	return t, write(t.File, small)
}

func read(file string) (image.Image, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err // it may be there at the next try
	}
	defer f.Close()
	picture, err := png.Decode(f)
	if err != nil {
		return nil, tasks.DoNotRetry(fmt.Errorf("%s is no picture: %w", filepath.Base(file), err))
	}
	return picture, nil
}

// write puts the file in its place when it is whole.
func write(file string, picture image.Image) error {
	f, err := os.CreateTemp(filepath.Dir(file), "*.part")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := errors.Join(png.Encode(f, picture), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// shrink makes each pixel the mean of those it stands for, and says how far it is.
func shrink(ctx context.Context, from image.Image, side int) (*image.RGBA, error) {
	b := from.Bounds()
	w, h := b.Dx(), b.Dy()
	if side < 1 || w < 1 || h < 1 {
		return nil, tasks.DoNotRetry(fmt.Errorf("a picture of %d by %d cannot be made %d pixels large", w, h, side))
	}
	scale := max((max(w, h)+side-1)/side, 1)
	to := image.NewRGBA(image.Rect(0, 0, max(w/scale, 1), max(h/scale, 1)))
	for y := range to.Rect.Dy() {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		for x := range to.Rect.Dx() {
			to.Set(x, y, mean(from, image.Rect(x*scale, y*scale, (x+1)*scale, (y+1)*scale).Add(b.Min).Intersect(b)))
		}
		tasks.FromContext(ctx).Progress(int64(y+1), int64(to.Rect.Dy()), "rows")
	}
	return to, nil
}

func mean(from image.Image, area image.Rectangle) color.Color {
	var sum [4]uint64
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			r, g, b, a := from.At(x, y).RGBA()
			for i, v := range [4]uint32{r, g, b, a} {
				sum[i] += uint64(v)
			}
		}
	}
	n := uint64(max(area.Dx()*area.Dy(), 1))
	return color.RGBA64{R: uint16(sum[0] / n), G: uint16(sum[1] / n), B: uint16(sum[2] / n), A: uint16(sum[3] / n)}
}
