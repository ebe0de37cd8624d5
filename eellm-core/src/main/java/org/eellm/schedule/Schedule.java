package org.eellm.schedule;

import java.util.Comparator;
import java.util.List;

/**
 * The actions of every stage of a pipeline in one training step.
 *
 * @param stages pipeline stages P
 * @param chunks chunks a stage; chunk c of stage s is virtual stage c * P + s
 * @param microbatches regular microbatches M; fills come on top
 * @param actions for each stage its actions, in order
 */
public record Schedule(
    ScheduleKind kind, int stages, int chunks, int microbatches, List<List<Action>> actions) {

  public Schedule {
    actions = actions.stream().map(List::copyOf).toList();
  }

  /** Virtual stages of the pipeline, P * chunks. */
  public int virtualStages() {
    return stages * chunks;
  }

  /** The virtual stage that a chunk of a stage is. */
  public int virtualStage(int stage, int chunk) {
    return chunk * stages + stage;
  }

  /** The stage that has a virtual stage. */
  public int stageOf(int virtualStage) {
    return virtualStage % stages;
  }

  /** All microbatches of the step by index: the regular ones, then the fills. */
  public List<MicrobatchId> microbatchIds() {
    return actions.getFirst().stream()
        .map(Action::microbatch)
        .distinct()
        .sorted(Comparator.comparingInt(MicrobatchId::index))
        .toList();
  }
}
