/* What no pause can go below: it only sleeps. It is linked as the program is, so that the two lie alike in memory. */

    .section .text.start, "ax"
    .globl _start, main, elf_machine, elf_flags
    .set elf_flags, 0
_start:
    .section .text.main, "ax"
main:
#if defined(__x86_64__)
    .set elf_machine, 62        /* EM_X86_64 */
    mov     $34, %eax           /* pause */
    syscall
    jmp     main
#elif defined(__aarch64__)
    .set elf_machine, 183       /* EM_AARCH64 */
    mov     x0, #0              /* no file descriptors, */
    mov     x1, #0
    mov     x2, #0              /* no time-out, */
    mov     x3, #0              /* no signal mask */
    mov     x8, #73             /* ppoll */
    svc     #0
    b       main
#else
#error "the baseline is not written for this architecture"
#endif
