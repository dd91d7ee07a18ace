// Package programs are the programs that engines are measured with. Each has a size and gives a number
// that depends on all it has done. Its source is also a cell, so it uses what every engine has.
package programs

import (
	"sort"
	"strings"
)

// Loop adds up numbers.
func Loop(n int) int {
	s := 0
	for i := 0; i < n; i++ {
		s += i ^ i>>3
	}
	return s
}

// Fib is calls.
func Fib(n int) int {
	if n < 2 {
		return n
	}
	return Fib(n-1) + Fib(n-2)
}

// Matmul multiplies two matrices of n rows and columns.
func Matmul(n int) int {
	a, b, c := matrix(n, 1), matrix(n, 2), matrix(n, 0)
	for i := 0; i < n; i++ {
		for j := 0; j < n; j++ {
			s := 0.0
			for k := 0; k < n; k++ {
				s += a[i][k] * b[k][j]
			}
			c[i][j] = s
		}
	}
	sum := 0.0
	for i := 0; i < n; i++ {
		for j := 0; j < n; j++ {
			sum += c[i][j]
		}
	}
	return int(sum)
}

func matrix(n, f int) [][]float64 {
	m := make([][]float64, n)
	for i := range m {
		m[i] = make([]float64, n)
		for j := 0; j < n; j++ {
			m[i][j] = float64((i + f*j) % 10)
		}
	}
	return m
}

// Mandelbrot counts the steps of n times n points, at most 200 each.
func Mandelbrot(n int) int {
	steps := 0
	for py := 0; py < n; py++ {
		for px := 0; px < n; px++ {
			cx := float64(px)/float64(n)*3 - 2
			cy := float64(py)/float64(n)*2 - 1
			x, y := 0.0, 0.0
			for i := 0; i < 200 && x*x+y*y <= 4; i++ {
				x, y = x*x-y*y+cx, 2*x*y+cy
				steps++
			}
		}
	}
	return steps
}

// Sieve counts the primes up to n.
func Sieve(n int) int {
	composite := make([]bool, n+1)
	count := 0
	for i := 2; i <= n; i++ {
		if composite[i] {
			continue
		}
		count++
		for j := i * i; j <= n; j += i {
			composite[j] = true
		}
	}
	return count
}

// Build builds a text of n pieces.
func Build(n int) int {
	var b strings.Builder
	for i := 0; i < n; i++ {
		b.WriteString("item ")
		b.WriteByte(byte('a' + i%26))
	}
	return len(b.String())
}

// Append appends n bytes to a slice, one at a time, and adds them up.
func Append(n int) int {
	var b []byte
	for i := 0; i < n; i++ {
		b = append(b, byte(i))
	}
	s := 0
	for _, x := range b {
		s += int(x)
	}
	return s
}

// Count counts n numbers in a map.
func Count(n int) int {
	m := map[int]int{}
	for i := 0; i < n; i++ {
		m[i*7919%1009]++
	}
	return len(m)*1000000 + m[17]
}

// Words counts n words in a map.
func Words(n int) int {
	words := strings.Fields("the quick brown fox jumps over the lazy dog and the cat sleeps on")
	m := map[string]int{}
	for i := 0; i < n; i++ {
		m[words[i%len(words)]]++
	}
	return len(m)*1000000 + m["the"]
}

// Sort sorts n numbers by a function.
func Sort(n int) int {
	s := make([]int, n)
	x := 1
	for i := range s {
		x = (x*1103515245 + 12345) % 2147483648
		s[i] = x
	}
	sort.Slice(s, func(i, j int) bool { return s[i] < s[j] })
	return s[0] + s[n/2] + s[n-1]
}

type shape interface{ Area() int }

type square struct{ side int }

type rectangle struct{ width, height int }

type dot struct{}

func (s square) Area() int     { return s.side * s.side }
func (r *rectangle) Area() int { return r.width * r.height }
func (dot) Area() int          { return 1 }

// Methods calls methods of interfaces n times.
func Methods(n int) int {
	shapes := []shape{square{3}, &rectangle{4, 5}, dot{}, square{7}}
	sum := 0
	for i := 0; i < n; i++ {
		sum += shapes[i&3].Area()
	}
	return sum
}

// Channel sends n numbers to another goroutine and gets their sum back.
func Channel(n int) int {
	numbers, sum := make(chan int, 16), make(chan int)
	go func() {
		s := 0
		for x := range numbers {
			s += x
		}
		sum <- s
	}()
	for i := 0; i < n; i++ {
		numbers <- i
	}
	close(numbers)
	return <-sum
}
