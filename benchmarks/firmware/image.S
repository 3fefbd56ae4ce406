/* Random bytes in place of a weights image. */
    .section .rodata.recurc_image, "a"
    .balign 64
    .globl rc_image_start
rc_image_start:
    .incbin IMAGE_PATH
    .section .note.GNU-stack, "", %progbits
