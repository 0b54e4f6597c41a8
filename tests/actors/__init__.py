"""Tests of the actors. Where each demand on watching is proven; `test_watch_table.py` holds this list to the code.

W: what happens on real disks. P: what the watchfiles library does wrong.
I: what inotify itself does. R: faults.

W1  limits          test_watch_limits: test_directories_beyond_the_watch_limit_at_start_are_polled_until_it_is_raised
                    test_watch_limits: test_directories_beyond_the_watch_limit_at_run_time_are_polled_until_it_is_raised
                    test_watch_limits: test_without_instances_at_start_everything_is_polled_until_there_are
                    test_watch_inotify: test_a_directory_that_gets_no_watch_is_polled_and_told_once
W2  filled early    test_watch_inotify: test_what_fills_a_new_directory_around_the_moment_of_its_watch_is_heard
                    test_watcher: test_files_made_in_the_same_instant_as_their_directories_are_heard
W3  lost events     test_watch_inotify: test_after_an_overflow_of_the_real_queue_nothing_is_missing
                    test_watch_parts: test_the_sweep_finds_what_the_system_never_told
                    test_watch_steps: test_an_hour_of_silence_over_a_thousand_files_costs_less_than_a_thousandth_of_it
                    test_watch_steps: test_thousands_of_files_come_and_go_in_bounded_batches
W4  deaf mounts     test_watch_mounts: test_directories_on_a_deaf_file_system_are_polled
                    test_watch_mounts: test_a_device_that_the_table_does_not_know_is_found_by_its_mount_point
                    test_watch_limits: test_a_write_into_a_lower_layer_is_heard_above_it
                    test_watch_parts: test_polling_slows_down_in_quiet_times_and_costs_nothing_without_work
W5  roots           test_watcher: test_a_missing_root_is_scanned_empty_and_heard_when_it_appears
                    test_watcher: test_a_root_deleted_and_made_again_is_heard
                    test_watcher: test_a_root_renamed_away_and_replaced_is_heard
                    test_watch_limits: test_a_root_that_is_mounted_over_and_unmounted_is_heard
                    test_watch_limits: test_a_root_that_becomes_a_network_mount_is_polled
W6  links, twins    test_watcher: test_symlinked_directories_are_followed_and_loops_end
                    test_watcher: test_roots_that_overlap_list_each_file_once
                    test_watcher: test_another_name_takes_over_when_the_first_is_gone
                    test_watch_roots: test_a_root_whose_link_is_swapped_shows_the_new_target_only
                    test_watch_roots: test_a_root_under_two_names_is_neither_missing_nor_read_twice
                    test_watch_changes: test_both_names_of_a_hard_linked_file_are_listed_and_the_one_written_to_is_heard
W7  bursts          test_watch_steps: test_a_burst_in_one_file_does_not_hold_back_the_hints_of_others
                    test_watcher: test_hints_merge_while_the_receiver_is_slow
W8  replaced files  test_watcher: test_a_file_renamed_into_place_is_heard_under_its_new_name
                    test_watch_changes: test_a_file_deleted_and_made_again_is_heard_in_the_end
W9  no change       test_watch_changes: test_reading_is_no_change
                    test_watch_changes: test_an_edit_that_keeps_size_and_time_is_heard
                    test_watch_inotify: test_a_chmod_is_heard_at_once_and_an_append_sends_no_second_hint
W10 clocks          test_watch_changes: test_a_clock_that_jumps_hides_no_change

P1  slow cancel     test_watcher: test_a_cancelled_watcher_ends_at_once
P2  new folders     test_watcher: test_files_made_in_the_same_instant_as_their_directories_are_heard
P3  overflow        test_watch_watchfiles: test_after_an_overflow_that_the_library_swallows_nothing_is_missing
P4  silent limit    test_watch_limits: test_directories_beyond_the_watch_limit_at_run_time_are_polled_until_it_is_raised
                    test_watch_watchfiles: test_a_directory_is_refused_when_it_has_no_watch_even_under_its_own_name
P5  root lost       test_watcher: test_a_root_deleted_and_made_again_is_heard
                    test_watch_parts: test_watchfiles_tries_again_when_a_root_vanishes_before_it_is_watched
P6  not ready       test_watch_roots: test_started_means_that_all_is_watched_and_the_first_looks_are_sent
P7  unreadable      test_watcher: test_an_unreadable_directory_kills_nothing
                    test_watch_watchfiles: test_an_unreadable_directory_leaves_none_behind_it_unwatched
P8  links, renames  test_watcher: test_symlinked_directories_are_followed_and_loops_end
                    test_watch_roots: test_a_link_added_later_is_followed
                    test_watcher: test_a_deleted_or_renamed_directory_takes_its_files_along
                    test_watcher: test_a_truncated_file_is_heard

I2  new folders     test_watch_inotify: test_what_fills_a_new_directory_around_the_moment_of_its_watch_is_heard
I3  overflow        test_watch_inotify: test_after_an_overflow_of_the_real_queue_nothing_is_missing
I4  limit           test_watch_limits: test_directories_beyond_the_watch_limit_at_start_are_polled_until_it_is_raised
I5  root lost       test_watch_inotify: test_many_missing_roots_come_and_go_without_leaving_watches
                    test_watcher: test_a_root_deleted_and_made_again_is_heard

R08 moved           test_watcher: test_a_file_renamed_into_place_is_heard_under_its_new_name
R09 deleted         test_watcher: test_a_deleted_file_is_gone
                    test_watch_changes: test_a_file_deleted_and_made_again_is_heard_in_the_end
R10 filled early    test_watch_inotify: test_what_fills_a_new_directory_around_the_moment_of_its_watch_is_heard
R11 overflow        test_watch_inotify: test_after_an_overflow_of_the_real_queue_nothing_is_missing
                    test_watch_watchfiles: test_after_an_overflow_that_the_library_swallows_nothing_is_missing
R12 degraded        test_watcher: test_an_unreadable_directory_kills_nothing
                    test_watch_inotify: test_a_back_end_lost_on_the_way_is_replaced_by_polling_and_then_by_a_new_one
                    test_watch_parts: test_a_failing_watchfiles_is_replaced_by_polling
R13 no files        test_watcher: test_what_is_no_regular_file_is_never_reported
                    test_watch_changes: test_a_fifo_and_a_socket_are_neither_reported_nor_opened
                    test_watch_changes: test_a_device_is_not_reported
R15 fairness        test_watch_steps: test_a_burst_in_one_file_does_not_hold_back_the_hints_of_others

R14, a read that hangs or fails, is the reader's.
"""
