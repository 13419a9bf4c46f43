// The checks, by name and in their order, in this one place: the init runs them and the test on the host expects a
// line for each. Both include this file and define `contract!` as they need it.
contract! {
    // At the start.
    as_the_first_process_it_says_nothing_and_sleeps
    as_another_process_it_warns_and_sleeps
    an_option_v_prints_the_version_wherever_it_stands
    an_option_capital_v_prints_the_version_wherever_it_stands
    any_other_argument_is_ignored
    a_megabyte_of_arguments_is_ignored
    no_arguments_at_all_are_fine
    the_name_of_the_program_is_no_argument
    before_linux_5_18_no_arguments_at_all_are_fine
    nothing_but_its_stack_can_be_written_and_that_not_executed

    // Signals.
    sigterm_ends_it_with_a_message
    sigint_ends_it_with_a_message
    both_at_once_end_it_with_one_message
    as_the_first_process_it_ignores_every_other_signal
    stopped_and_continued_it_sleeps_on
    a_tracer_that_comes_and_goes_leaves_it_asleep
    frozen_and_thawed_it_sleeps_on

    // Reaping.
    orphans_leave_no_zombie_and_do_not_wake_it
    orphans_that_die_while_it_is_stopped_leave_no_zombie
    a_zombie_inherited_across_execve_is_swept

    // Namespaces.
    what_a_member_sets_in_its_namespaces_stays
    everything_in_its_pid_namespace_goes_with_it

    // Faults.
    a_failing_rt_sigaction_ends_it_with_the_number_of_the_call
    a_denied_pause_ends_it_with_a_message_and_status_42
    a_failing_getpid_means_a_warning
    a_failing_wait4_is_of_no_consequence
    a_failing_write_loses_the_message_and_nothing_else
    a_failing_poll_loses_the_message_and_nothing_else
    where_exit_is_denied_it_dies_at_once
    an_interrupted_pause_sleeps_on
    every_disposition_is_aligned_as_its_type_says
    a_broken_stdout_ends_it_that_should_print_the_version
    where_no_file_may_be_open_messages_are_lost_and_the_version_is_not
    a_broken_stderr_does_not_keep_it_from_starting
    a_full_stderr_does_not_keep_it_from_ending
    closed_streams_do_not_matter
}
