"""The promises rest on tests that are there: each file that a row names proves what this page says it does."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/promises.md").read_text()

PROOFS: Final = {
    "Nothing lost, nothing twice": {
        "tests/faults/test_kill_anywhere.py": ["test_nothing_is_lost_or_doubled_or_half"],
        "tests/faults/test_store_faults.py": [
            "test_killed_at_any_point_of_an_append_nothing_is_lost_or_doubled",
            "test_killed_from_outside_while_writing",
            "test_a_full_disk_loses_nothing_and_goes_on_once_there_is_room",
        ],
        "tests/faults/test_disk_full.py": [
            "test_a_full_file_system_pauses_the_river_and_loses_nothing",
            "test_a_limit_on_files_pauses_the_river_and_loses_nothing",
        ],
        "tests/integration/test_kafka_groups.py": [
            "test_a_rebalance_hands_partitions_over_once",
            "test_replicas_with_stores_of_their_own_share_without_repeats",
        ],
        "tests/integration/test_kafka_logs.py": [
            "test_what_retention_took_is_a_gap",
            "test_a_topic_made_anew_is_read_from_its_start",
            "test_aborted_records_never_come_and_are_no_loss",
        ],
    },
    "What cannot be understood": {
        "tests/integration/test_bad_records.py": ["test_every_kind_of_bad_record_is_counted_and_no_good_one_is_lost"],
        "tests/integration/test_kafka_dead_letters.py": ["test_bad_records_are_dead_letters_and_stop_nothing"],
        "tests/unit/memory/intake/test_dead_letters_and_gaps.py": [
            "test_dead_letters_are_kept_with_their_reason_and_bytes"
        ],
    },
    "A generation that is watched in traffic": {
        "tests/integration/test_canary.py": [
            "test_a_canary_is_promoted_and_one_that_fails_goes_back_while_clients_are_answered"
        ],
        "tests/unit/daemon/rounds/watched/test_watch.py": [
            "test_a_daemon_that_was_killed_goes_on_with_the_watch",
            "test_a_crash_between_ledger_and_pointer_is_made_good",
            "test_one_that_fails_goes_back_at_once_and_what_served_serves_on",
            "test_one_that_foretells_worse_what_arrives_goes_back",
        ],
        "tests/unit/daemon/rounds/watched/test_arriving.py": [
            "test_what_came_since_the_watch_began_is_read_once_by_both"
        ],
        "tests/unit/gate/live/test_judge_live.py": [
            "test_one_at_a_bound_is_promoted_no_more_often_than_stated",
            "test_callers_that_differ_take_no_chance_from_the_level",
            "test_one_that_foretells_worse_by_the_bound_is_promoted_no_more_often_than_stated",
        ],
        "tests/unit/serving/traffic/test_canary_routes.py": [
            "test_each_user_keeps_to_one_generation_and_is_told_which",
            "test_where_the_canary_fails_the_serving_generation_answers",
        ],
        "tests/unit/serving/traffic/test_watched_text.py": ["test_both_read_the_same_tokens"],
    },
    "While a schema registry is away": {
        "tests/integration/test_schema_registry.py": ["test_nothing_is_lost_while_the_registry_is_away"],
    },
    "What people say of answers": {
        "tests/unit/daemon/ingestion/test_feedback_drain.py": [
            "test_nothing_is_lost_and_nothing_comes_twice_wherever_it_is_killed"
        ],
        "tests/unit/serving/feedback/test_spool.py": ["test_a_process_that_is_killed_holds_up_nobody"],
        "tests/unit/serving/test_feedback.py": [
            "test_feedback_names_the_generation_and_is_written_down",
            "test_text_is_kept_where_it_is_asked_for",
        ],
    },
    "Serving never breaks": {
        "tests/integration/test_sick_serving.py": [
            "test_a_sick_process_is_replaced",
            "test_a_sick_replica_says_no_to_the_probe_of_life",
        ],
        "tests/integration/test_serving.py": [
            "test_swaps_fail_no_request_and_mix_no_answer",
            "test_an_answer_ends_on_the_generation_it_began_on",
            "test_a_damaged_candidate_is_reported_while_the_old_one_serves",
        ],
        "tests/integration/test_engines.py": [
            "test_each_answer_is_of_one_generation_and_what_the_builtin_engine_writes",
            "test_a_stream_ends_on_the_generation_that_it_began_on",
            "test_requests_that_wait_in_the_queue_outlast_a_swap",
            "test_an_engine_killed_in_an_answer_is_told_and_replaced",
            "test_the_old_generation_serves_on_where_an_engine_does_not_come",
        ],
        "tests/unit/serving/generations/test_swap.py": [
            "test_a_damaged_candidate_never_serves",
            "test_a_candidate_that_fails_its_warm_up_never_serves",
            "test_weights_that_are_not_numbers_fail_the_warm_up",
        ],
    },
    "A damaged database ends neither answers nor the daemon": {
        "tests/faults/test_damaged_memory.py": [
            "test_damage_while_it_runs_ends_neither_daemon_nor_serving",
            "test_damage_found_at_the_start_is_borne_where_something_serves",
            "test_nothing_is_lost_or_committed_while_the_memory_is_damaged",
        ],
        "tests/faults/test_restored_copy.py": [
            "test_after_an_older_copy_what_serves_serves_on_and_the_next_round_is_not_lost",
        ],
    },
    "A candidate that is broken, worse or unproven": {
        "tests/unit/gate/test_judge.py": [
            "test_a_worse_candidate_is_never_accepted",
            "test_a_number_that_is_not_finite_is_never_accepted",
            "test_only_a_trained_round_is_accepted",
            "test_a_slice_that_was_not_scored_refuses",
            "test_no_anchor_or_no_new_text_refuses",
        ],
        "tests/unit/daemon/rounds/test_runner.py": [
            "test_a_worse_candidate_never_serves",
            "test_a_report_of_something_else_proves_nothing",
        ],
    },
    "A round is all or nothing": {
        "tests/faults/test_kill_anywhere.py": ["test_nothing_is_lost_or_doubled_or_half"],
        "tests/faults/test_store_faults.py": [
            "test_killed_at_any_point_of_a_round_it_took_effect_wholly_or_not_at_all"
        ],
        "tests/faults/test_checkpoint_faults.py": ["test_killed_at_any_step_it_is_whole_or_absent"],
        "tests/unit/daemon/rounds/test_runner.py": [
            "test_a_round_cut_off_at_any_durable_step_is_finished_or_discarded",
            "test_a_round_cut_off_before_its_report_leaves_no_trace",
        ],
    },
    "A round is a directory": {
        "tests/unit/learner/test_job.py": ["test_same_directory_gives_the_same_weights_wherever_it_lies"],
    },
    "A round that was killed or stopped": {
        "tests/faults/test_going_on.py": ["test_a_learner_killed_anywhere_reaches_the_same"],
        "tests/unit/learner/test_compiled_rounds.py": ["test_a_round_that_is_killed_goes_on_to_the_same_weights"],
        "tests/unit/daemon/rounds/cut_off/test_going_on.py": [
            "test_a_round_goes_on_when_the_service_starts_again",
            "test_a_round_that_takes_the_service_with_it_at_one_place_is_given_up",
        ],
    },
    "A generation that is an adapter": {
        "tests/unit/learner/test_adapter_generations.py": [
            "test_scores_of_a_candidate_are_those_of_the_generation_that_it_became",
            "test_digest_and_verification_cover_the_ground",
        ],
        "tests/integration/test_adapter_generations.py": [
            "test_adapters_are_judged_served_and_gone_back_to_and_their_ground_stays",
            "test_a_publication_that_is_cut_off_is_finished_or_discarded",
        ],
    },
    "A round whose adapter is merged makes whole models": {
        "tests/unit/learner/test_adapting.py": [
            "test_a_round_learns_through_an_adapter_and_its_candidates_are_whole_models",
            "test_a_classifier_learns_a_new_label_with_an_adapter",
        ],
        "tests/unit/learner/training/test_adapter_steps.py": [
            "test_the_model_without_its_adapter_is_as_good_a_parent_as_a_copy_of_it",
            "test_gradients_and_the_optimizer_are_of_the_adapter_alone",
        ],
        "tests/unit/learner/weights/test_adapter.py": [
            "test_without_it_the_model_is_its_parent_and_merged_it_is_what_was_trained",
        ],
    },
    "A candidate that lost what its owner expects": {
        "tests/integration/test_skills.py": ["test_what_it_learned_does_not_buy_what_it_broke"],
        "tests/unit/learner/evaluation/test_pair_skills.py": [
            "test_answers_are_those_of_the_whole_model",
            "test_a_round_asks_base_parent_and_every_candidate",
        ],
        "tests/unit/gate/skills/test_skill_questions.py": [
            "test_a_candidate_that_breaks_a_skill_is_refused_though_it_learned",
            "test_small_losses_add_up_against_the_best_and_the_base",
            "test_a_skill_that_was_not_asked_as_drawn_opens_nothing",
        ],
        "tests/unit/memory/identity/test_kept_out.py": [
            "test_what_arrives_and_comes_near_is_dropped",
            "test_what_was_stored_before_is_never_drawn",
        ],
    },
    "Forgetting is measured on text": {
        "tests/unit/memory/intake/test_intake.py": [
            "test_training_text_close_to_held_out_text_is_dropped",
            "test_held_out_text_close_to_trained_text_is_dropped",
            "test_all_documents_of_a_key_are_on_one_side",
        ],
        "tests/unit/memory/ledger/test_draw.py": [
            "test_fresh_text_close_to_held_out_text_that_came_later_is_not_drawn",
            "test_held_out_text_that_arrives_during_a_round_is_checked_before_it_is_used",
        ],
        "tests/unit/memory/identity/test_sketches.py": ["test_nearly_all_edited_texts_are_found_and_no_others"],
    },
    "Everything is bounded that is kept": {
        "tests/unit/memory/samples/test_replay_budgets.py": ["test_budgets_are_never_exceeded"],
        "tests/unit/memory/samples/test_slices.py": ["test_all_slices_together_are_bounded_and_the_anchor_is_spared"],
        "tests/unit/memory/ledger/test_retention.py": [
            "test_twelve_hundred_rounds_leave_a_store_no_larger_than_six_hundred"
        ],
        "tests/unit/memory/intake/test_dead_letters_and_gaps.py": [
            "test_at_its_bound_in_rows_the_oldest_letters_make_room",
            "test_at_its_bound_in_bytes_the_oldest_letters_make_room",
            "test_rows_of_gaps_are_bounded",
        ],
        "tests/integration/test_quarantine_bound.py": [
            "test_a_trickle_of_dead_letters_stops_nothing",
            "test_letters_that_wait_for_their_topic_hold_the_stream",
        ],
        "tests/unit/checkpoints/test_retention.py": ["test_what_must_stay_stays"],
        "tests/unit/daemon/rounds/test_runner.py": [
            "test_old_generations_go_and_the_way_back_stays",
            "test_directories_of_finished_rounds_are_bounded",
        ],
    },
    "One client's flood": {
        "tests/integration/test_api_keys.py": [
            "test_beyond_a_limit_the_client_is_told_when_to_come_back",
            "test_a_flood_of_one_key_does_not_starve_another",
            "test_a_key_is_revoked_while_it_is_answered",
            "test_a_days_quota_survives_the_process",
        ],
        "tests/unit/serving/test_askers.py": ["test_beyond_a_limit_it_is_openais_429"],
        "tests/unit/serving/engine/test_fair_queue.py": ["test_nobody_is_lost_and_nobody_is_two_turns_ahead"],
        "tests/unit/serving/keys/test_key_file.py": ["test_only_the_hash_of_a_new_key_is_kept"],
    },
    "Everything is bounded that waits": {
        "tests/integration/test_door.py": [
            "test_a_crowd_keeps_nobody_out",
            "test_what_no_application_answers_is_answered_in_its_shape",
        ],
        "tests/unit/serving/answers/test_body.py": [
            "test_a_completion_is_refused_by_its_first_mistake",
            "test_a_chat_is_refused_by_its_first_mistake",
        ],
        "tests/unit/daemon/ingestion/test_ingest.py": ["test_a_full_store_pauses_and_keeps_polling"],
        "tests/unit/serving/engine/test_completions.py": ["test_a_full_queue_refuses"],
        "tests/unit/serving/engine/test_classify.py": ["test_a_full_queue_refuses"],
        "tests/faults/test_broker_gone.py": ["test_a_broker_that_hangs_holds_up_no_poll"],
        "tests/unit/daemon/processes/test_learner_process.py": [
            "test_a_silent_learner_is_killed",
            "test_a_learner_that_overruns_is_killed",
            "test_endless_lines_take_bounded_memory",
        ],
    },
    "Everything is bounded that it costs": {
        "tests/unit/memory/ledger/test_draw.py": ["test_the_evaluation_is_bounded"],
        "tests/unit/memory/test_metrics.py": ["test_the_number_of_label_values_is_bounded"],
        "tests/unit/gate/test_metrics.py": ["test_the_slices_shown_are_bounded"],
    },
    "Everything is accountable and erasable": {
        "tests/unit/memory/people/test_erasure.py": [
            "test_no_byte_of_the_text_stays_in_the_files",
            "test_rounds_and_generations_that_saw_the_text_are_named",
        ],
        "tests/unit/memory/people/test_finding.py": ["test_a_person_is_found_with_what_saw_the_text"],
    },
    "No model is served or trained wrongly": {
        "tests/unit/checkpoints/probe/test_probe.py": [
            "test_a_model_that_sees_later_tokens_is_refused",
            "test_answers_that_depend_on_what_shares_the_batch_are_given_one_by_one",
        ],
        "tests/unit/checkpoints/probe/test_pair_decoding.py": ["test_rows_join_and_leave"],
        "tests/integration/test_architectures.py": [
            "test_a_causal_model_answers_and_learns_as_by_whole_passes",
            "test_a_classifier_answers_and_learns_as_by_single_texts",
        ],
        "tests/unit/learner/test_conduct.py": ["test_a_round_on_a_model_that_sees_later_tokens_is_refused"],
    },
    "The page shows what the operations answer": {
        "tests/browser/test_page.py": [
            "test_criteria_are_those_of_the_verdict",
            "test_nobody_is_shut_out",
            "test_rounds_are_those_of_the_ledger",
        ],
        "tests/unit/daemon/page/test_pages.py": ["test_text_from_outside_is_text_and_nothing_else"],
        "tests/unit/daemon/page/test_access.py": [
            "test_a_form_that_no_page_of_ours_sent_does_nothing",
            "test_who_is_not_signed_in_is_led_there_and_back",
        ],
    },
    "Nothing unsafe is loaded or exposed": {
        "tests/unit/checkpoints/test_generation_store.py": ["test_pickled_weights_are_refused"],
        "tests/unit/checkpoints/test_load.py": ["test_code_in_a_model_is_never_run"],
        "tests/unit/daemon/admin/test_app.py": ["test_every_route_but_metrics_and_probes_needs_the_token"],
        "tests/unit/serving/test_app.py": ["test_every_route_needs_the_key"],
        "tests/unit/serving/test_settings.py": ["test_it_does_not_listen_beyond_loopback_without_a_key"],
    },
}
"""Of each promise, by its first words: which tests of the files that docs/promises.md names it rests on."""


def promises() -> Iterator[tuple[str, list[str]]]:
    """Each row of the table: the promise, and the paths that are to prove it."""
    part = PAGE.partition("\n| promise | test |\n")[2].partition("\n\n")[0]
    for line in part.splitlines()[1:]:
        promise, proof = (cell.strip() for cell in line.strip("|").split("|"))
        yield promise, re.findall(r"`([^`]+)`", proof)


def names_in(path: str) -> set[str]:
    """The names of a file's tests."""
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


@pytest.mark.parametrize(("promise", "paths"), list(promises()), ids=lambda value: str(value)[:40])
def test_a_promise_rests_on_tests_that_are_there(promise: str, paths: list[str]) -> None:
    """The row names those files and no others, and the tests are in them; a benchmark beside them exists."""
    (proofs,) = [found for words, found in PROOFS.items() if promise.startswith(words)]
    assert {path for path in paths if path.startswith("tests/")} == set(proofs)
    assert [path for path in paths if not (ROOT / path).is_file()] == []
    assert {path: set(names) - names_in(path) for path, names in proofs.items() if set(names) - names_in(path)} == {}


def test_no_promise_is_left_out() -> None:
    """One row for each that is known here."""
    assert len(list(promises())) == len(PROOFS)
