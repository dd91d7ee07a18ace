#!/bin/sh
# A linear model, fitted batch by batch to data that is never there as a whole. What it
# has learned is two matrices of gonum in variables of a namespace. No farm runs here:
# each command starts one in this folder and ends it, so every step reads what
# the one before has left on disk.
#
#   FARM   the command to run, farm unless set
set -eu
farm=${FARM:-farm}
unset FARM_ADDR

say() { printf '\n# %s\n' "$*"; }

say "Declare: the normal equations of three coefficients, and how a batch is added."
$farm exec fit '
import (
	"fmt"
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"
)

xtx, xty, seen := mat.NewDense(3, 3, nil), mat.NewVecDense(3, nil), 0

// batch makes data: y = 3 + 2a - b, and noise.
func batch(seed uint64, rows int) (*mat.Dense, *mat.VecDense) {
	r := rand.New(rand.NewPCG(seed, 0))
	x, y := mat.NewDense(rows, 3, nil), mat.NewVecDense(rows, nil)
	for i := range rows {
		a, b := r.Float64(), r.Float64()
		x.SetRow(i, []float64{1, a, b})
		y.SetVec(i, 3+2*a-b+r.NormFloat64()/10)
	}
	return x, y
}

func add(x *mat.Dense, y *mat.VecDense) {
	var p mat.Dense
	p.Mul(x.T(), x)
	xtx.Add(xtx, &p)
	var q mat.VecDense
	q.MulVec(x.T(), y)
	xty.AddVec(xty, &q)
	seen += y.Len()
}

// coefficients solves the normal equations.
func coefficients() (string, error) {
	var b mat.VecDense
	err := b.SolveVec(xtx, xty)
	return fmt.Sprintf("%d rows: %.2f", seen, b.RawVector().Data), err
}'

say "Learn: two batches, each in a farm of its own lifetime."
$farm exec fit 'add(batch(1, 1000))'
$farm exec fit 'add(batch(2, 4000))'

say "Ask: what has been learned, and what the matrix is."
$farm exec fit 'coefficients()'
$farm exec fit 'fmt.Sprintf("%.0f", xtx.At(0, 0))'
