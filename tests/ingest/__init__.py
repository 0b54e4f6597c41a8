"""The reading side. Where each demand on a reader (R1 … R16 of the transcript reference) is proven:

R1, R2   half a line, a file that grows while it is read: test_live, test_reading, test_growing (real files, every cut)
R3, R4   an offset in mid-line; cut, rewritten, replaced: test_generations, test_reading; moved, two names: test_moves
R5, R6   odd line ends, cut characters, bad UTF-8: tests/core/test_lines, test_decode
R7       huge lines: test_reading
R8       no final newline: test_tails
R9       unknown and wrongly typed: tests/core/test_transcript
R10, R11 work follows what is new, and nothing is read without a change: test_work, test_generations
R12      offset and rows in one transaction, kills anywhere: test_restart, test_properties
R13      a bad line, a bad file: test_live, test_actor
R14      CRLF, BOM, blank lines, empty files: tests/core/test_lines, test_work
R15      other programs' files: test_live, test_history, test_work
R16      unreadable, EIO, vanished: test_actor, test_reading
damaged lines: tests/core/test_resync; copies of forked history: test_copies; late roots: test_late_roots
"""
