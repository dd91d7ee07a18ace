#include "textflag.h"

// The same as in slots_amd64.s. R26 is the closure register; R16 and R17 are free between functions.

#define E(n) PCALIGN $16; MOVD $(n), R16; B call;
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
	MOVD $·slots(SB), R17
	MOVD (R17)(R16<<3), R26
	MOVD (R26), R16
	B    (R16)

// func firstEntry() uintptr
TEXT ·firstEntry(SB), NOSPLIT, $0-8
	MOVD $entries<>(SB), R0
	MOVD R0, ret+0(FP)
	RET
