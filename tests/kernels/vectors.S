/* Test vectors in place of a weights image. */
    .section .rodata.recurc_image, "a"
    .balign 64
    .globl rc_image_start
    .globl rc_image_end
rc_image_start:
    .incbin VECTORS_PATH
rc_image_end:
    .section .note.GNU-stack, "", %progbits
