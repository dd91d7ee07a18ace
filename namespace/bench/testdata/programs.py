"""The counterparts of the programs in programs.go, and a loop that runs what it is asked for.

Each line of the standard input is the name of a program and its size; each line of the output its
result and the processor time it took, in seconds.
"""

import functools
import queue
import sys
import threading
import time


def Loop(n):
    s = 0
    for i in range(n):
        s += i ^ i >> 3
    return s


def Fib(n):
    if n < 2:
        return n
    return Fib(n - 1) + Fib(n - 2)


def matrix(n, f):
    return [[float((i + f * j) % 10) for j in range(n)] for i in range(n)]


def Matmul(n):
    a, b, c = matrix(n, 1), matrix(n, 2), matrix(n, 0)
    for i in range(n):
        for j in range(n):
            s = 0.0
            for k in range(n):
                s += a[i][k] * b[k][j]
            c[i][j] = s
    total = 0.0
    for i in range(n):
        for j in range(n):
            total += c[i][j]
    return int(total)


def Mandelbrot(n):
    steps = 0
    for py in range(n):
        for px in range(n):
            cx = px / n * 3 - 2
            cy = py / n * 2 - 1
            x, y = 0.0, 0.0
            i = 0
            while i < 200 and x * x + y * y <= 4:
                x, y = x * x - y * y + cx, 2 * x * y + cy
                steps += 1
                i += 1
    return steps


def Sieve(n):
    composite = [False] * (n + 1)
    count = 0
    for i in range(2, n + 1):
        if composite[i]:
            continue
        count += 1
        for j in range(i * i, n + 1, i):
            composite[j] = True
    return count


def Build(n):
    b = []
    for i in range(n):
        b.append("item ")
        b.append(chr(97 + i % 26))
    return len("".join(b))


def Append(n):
    b = bytearray()
    for i in range(n):
        b.append(i & 255)
    s = 0
    for x in b:
        s += x
    return s


def Count(n):
    m = {}
    for i in range(n):
        k = i * 7919 % 1009
        m[k] = m.get(k, 0) + 1
    return len(m) * 1000000 + m[17]


def Words(n):
    words = "the quick brown fox jumps over the lazy dog and the cat sleeps on".split()
    m = {}
    for i in range(n):
        w = words[i % len(words)]
        m[w] = m.get(w, 0) + 1
    return len(m) * 1000000 + m["the"]


def Sort(n):
    s = [0] * n
    x = 1
    for i in range(n):
        x = (x * 1103515245 + 12345) % 2147483648
        s[i] = x
    s.sort(key=functools.cmp_to_key(lambda a, b: a - b))
    return s[0] + s[n // 2] + s[n - 1]


class Square:
    def __init__(self, side):
        self.side = side

    def Area(self):
        return self.side * self.side


class Rectangle:
    def __init__(self, width, height):
        self.width, self.height = width, height

    def Area(self):
        return self.width * self.height


class Dot:
    def Area(self):
        return 1


def Methods(n):
    shapes = [Square(3), Rectangle(4, 5), Dot(), Square(7)]
    total = 0
    for i in range(n):
        total += shapes[i & 3].Area()
    return total


def Channel(n):
    numbers, result = queue.Queue(16), queue.Queue()

    def add():
        s = 0
        while True:
            x = numbers.get()
            if x is None:
                break
            s += x
        result.put(s)

    t = threading.Thread(target=add)
    t.start()
    for i in range(n):
        numbers.put(i)
    numbers.put(None)
    t.join()
    return result.get()


for line in sys.stdin:
    name, size = line.split()
    before = time.process_time()
    result = globals()[name](int(size))
    print(result, time.process_time() - before, flush=True)
