#include "textflag.h"

// Methods of types made at run time are called without a closure. Each exported one has an entry here: a
// few instructions that load the entry's function value into the closure register and go on in its code,
// with all arguments where they are. Entries are 16 bytes apart.

#define E(n) PCALIGN $16; MOVL $(n), R12; JMP call;
#define E4(n) E(n) E(n+1) E(n+2) E(n+3)
#define E16(n) E4(n) E4(n+4) E4(n+8) E4(n+12)
#define E64(n) E16(n) E16(n+16) E16(n+32) E16(n+48)
#define E256(n) E64(n) E64(n+64) E64(n+128) E64(n+192)
#define E1024(n) E256(n) E256(n+256) E256(n+512) E256(n+768)

TEXT entries<>(SB), NOSPLIT|NOFRAME, $0-0
	E1024(0)
	E1024(1024)
	E1024(2048)
	E1024(3072)
call:
	LEAQ ·slots(SB), R13
	MOVQ (R13)(R12*8), DX
	MOVQ (DX), R12
	JMP  R12

// func firstEntry() uintptr
TEXT ·firstEntry(SB), NOSPLIT, $0-8
	LEAQ entries<>(SB), AX
	MOVQ AX, ret+0(FP)
	RET
