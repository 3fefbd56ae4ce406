/* The stand-in model's image, made by the tests. */
    .section .rodata.recurc_image, "a"
    .balign 64
    .globl rc_image_start
    .globl rc_image_end
rc_image_start:
    .incbin IMAGE_PATH
rc_image_end:
#ifdef TABLE_PATH
    .balign 64
    .globl rc_dummy_table
    .globl rc_dummy_table_end
rc_dummy_table:
    .incbin TABLE_PATH
rc_dummy_table_end:
#endif
    .section .note.GNU-stack, "", %progbits
