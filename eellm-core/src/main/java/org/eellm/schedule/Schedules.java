package org.eellm.schedule;

import static org.eellm.schedule.ScheduleException.require;
import static org.eellm.schedule.ScheduleKind.INTERLEAVED;
import static org.eellm.schedule.ScheduleKind.ONE_F_ONE_B;
import static org.eellm.schedule.ScheduleKind.TUNING;

import java.util.ArrayList;
import java.util.List;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import org.eellm.schedule.Action.Backward;
import org.eellm.schedule.Action.BackwardWeights;
import org.eellm.schedule.Action.Compute;
import org.eellm.schedule.Action.Forward;
import org.eellm.schedule.Action.Tune;
import org.eellm.schedule.MicrobatchId.CooldownFill;
import org.eellm.schedule.MicrobatchId.Regular;
import org.eellm.schedule.MicrobatchId.WarmupFill;

/**
 * Emits schedules. Each emitter is a pure function that says in which order a stage computes;
 * receives and sends are added alike for all of them, and {@link ScheduleValidator} checks the
 * result.
 *
 * <p>Exits change no order: they only make the backward pass of their stage more expensive, as
 * their heads run there (EE-LLM, section 3.2).
 */
public final class Schedules {
  private Schedules() {}

  /** {@link #emit(ScheduleKind, int, int, int, Fills)} without fills. */
  public static Schedule emit(ScheduleKind kind, int stages, int chunks, int microbatches) {
    return emit(kind, stages, chunks, microbatches, Fills.none());
  }

  /**
   * Emits the schedule of a step.
   *
   * @param stages pipeline stages P
   * @param chunks chunks a stage: 1; 2 and more for {@link ScheduleKind#INTERLEAVED}; any for
   *     {@link ScheduleKind#TUNING}
   * @param microbatches regular microbatches M
   * @param fills extra microbatches; for {@link ScheduleKind#ONE_F_ONE_B} only
   * @throws ScheduleException if there is no such schedule; the message has the numbers and a shape
   *     that works
   */
  public static Schedule emit(
      ScheduleKind kind, int stages, int chunks, int microbatches, Fills fills) {
    requireShape(kind, stages, chunks, microbatches);
    requireFills(kind, stages, fills);
    IntFunction<List<Compute>> emitter =
        switch (kind) {
          case ALL_FORWARD_ALL_BACKWARD -> _ -> allForwardAllBackward(microbatches);
          case ONE_F_ONE_B -> stage -> oneForwardOneBackward(stage, stages, microbatches, fills);
          case INTERLEAVED -> stage -> interleaved(stage, stages, chunks, microbatches);
          case ZERO_BUBBLE -> stage -> zeroBubble(stage, stages, microbatches);
          case TUNING -> _ -> tuning(stages, chunks, microbatches);
        };
    List<List<Compute>> computes = IntStream.range(0, stages).mapToObj(emitter).toList();
    Schedule schedule =
        new Schedule(
            kind,
            stages,
            chunks,
            microbatches,
            new StageMessages(stages, chunks).addSendRecv(computes));
    ScheduleValidator.check(schedule);
    return schedule;
  }

  /**
   * All forward passes, then all backward passes, these in the forward passes' order: gradients add
   * up in the same order as with 1F1B, and come out the same to the last bit.
   */
  private static List<Compute> allForwardAllBackward(int microbatches) {
    List<Compute> order = new ArrayList<>();
    for (int i = 0; i < microbatches; i++) {
      order.add(new Forward(new Regular(i), 0));
    }
    for (int i = 0; i < microbatches; i++) {
      order.add(new Backward(new Regular(i), 0));
    }
    return order;
  }

  /**
   * 1F1B: P - s - 1 forward passes to fill the pipeline, then one forward, one backward in turn, at
   * last the backward passes that are left.
   *
   * <p>Cool-down fills follow the regular microbatches, and lack the backward passes below where
   * they stop. Warm-up fills sit where a stage has done its first forward passes and waits for the
   * first gradient. They come back in reverse, as the deepest one needs the longest.
   */
  private static List<Compute> oneForwardOneBackward(
      int stage, int stages, int microbatches, Fills fills) {
    List<MicrobatchId> through = new ArrayList<>();
    IntStream.range(0, microbatches).mapToObj(Regular::new).forEach(through::add);
    int index = microbatches + fills.warmupStages().size();
    for (int firstStage : fills.cooldownFirstStages()) {
      through.add(new CooldownFill(index++, firstStage));
    }

    List<Compute> order = new ArrayList<>();
    int warmup = Math.min(stages - stage - 1, through.size());
    for (MicrobatchId id : through.subList(0, warmup)) {
      order.add(new Forward(id, 0));
    }
    for (int i = 0; i < through.size(); i++) {
      if (warmup + i < through.size()) {
        order.add(new Forward(through.get(warmup + i), 0));
      }
      if (i == 0) {
        order.addAll(warmupFills(stage, microbatches, fills.warmupStages()));
      }
      if (through.get(i).hasBackwardOn(stage)) {
        order.add(new Backward(through.get(i), 0));
      }
    }
    return order;
  }

  private static List<Compute> warmupFills(int stage, int firstIndex, List<Integer> depths) {
    List<Compute> order = new ArrayList<>();
    for (int i = 0; i < depths.size(); i++) {
      if (stage < depths.get(i)) {
        MicrobatchId fill = new WarmupFill(firstIndex + i, depths.get(i));
        order.add(i, new Forward(fill, 0));
        order.add(i + 1, new Backward(fill, 0));
      }
    }
    return order;
  }

  /**
   * Interleaved 1F1B (Narayanan et al., arXiv 2104.04473, section 2.2): a stage has several chunks,
   * and takes the microbatches in groups of P through one chunk after the other.
   */
  private static List<Compute> interleaved(int stage, int stages, int chunks, int microbatches) {
    int passes = microbatches * chunks;
    int warmup = Math.min(2 * (stages - stage - 1) + (chunks - 1) * stages, passes);
    List<Compute> order = new ArrayList<>();
    for (int i = 0; i < warmup + passes; i++) {
      if (i < passes) {
        order.add(new Forward(inGroups(i, stages, chunks), i / stages % chunks));
      }
      if (i >= warmup) {
        int pass = i - warmup;
        int chunk = chunks - 1 - pass / stages % chunks;
        order.add(new Backward(inGroups(pass, stages, chunks), chunk));
      }
    }
    return order;
  }

  /**
   * ZB-H1 (Qi et al., arXiv 2401.10241, section 3.1): 1F1B whose backward pass leaves out what
   * nobody waits for, the gradients of matrices. Stage s makes them s microbatches later, so that
   * the stage before has its gradient sooner, and the last ones fill the end of the step. No stage
   * keeps activations of more microbatches than the first one of 1F1B, P.
   */
  private static List<Compute> zeroBubble(int stage, int stages, int microbatches) {
    List<Compute> order = new ArrayList<>();
    int warmup = stages - stage - 1;
    for (int i = 0; i < warmup + microbatches + stage; i++) {
      int backward = i - warmup;
      int weights = backward - stage;
      if (i < microbatches) {
        order.add(new Forward(new Regular(i), 0));
      }
      if (backward >= 0 && backward < microbatches) {
        order.add(new Backward(new Regular(backward), 0));
      }
      if (weights >= 0) {
        order.add(new BackwardWeights(new Regular(weights), 0));
      }
    }
    return order;
  }

  private static Regular inGroups(int pass, int stages, int chunks) {
    return new Regular(pass / (stages * chunks) * stages + pass % stages);
  }

  /**
   * Forward only (EE-Tuning, arXiv 2402.00518): a stage is done with a microbatch at once. With
   * chunks, groups of as many microbatches as there are stages go through one chunk after the
   * other.
   */
  private static List<Compute> tuning(int stages, int chunks, int microbatches) {
    List<Compute> order = new ArrayList<>();
    int group = chunks == 1 ? microbatches : stages;
    for (int first = 0; first < microbatches; first += group) {
      for (int chunk = 0; chunk < chunks; chunk++) {
        for (int i = first; i < Math.min(first + group, microbatches); i++) {
          order.add(new Tune(new Regular(i), chunk));
        }
      }
    }
    return order;
  }

  private static void requireShape(ScheduleKind kind, int stages, int chunks, int microbatches) {
    require(stages >= 1, () -> "%d pipeline stages are too few; use 1 or more".formatted(stages));
    require(
        microbatches >= 1,
        () -> "%d microbatches are too few; use 1 or more".formatted(microbatches));
    if (kind == INTERLEAVED) {
      require(
          stages >= 2,
          () -> "an interleaved schedule of %d stage; use 2 stages or more".formatted(stages));
      require(
          chunks >= 2,
          () ->
              "an interleaved schedule with %d chunks a stage; use 2 or more, or 1F1B"
                  .formatted(chunks));
      int less = microbatches / stages * stages;
      require(
          microbatches % stages == 0,
          () ->
              ("an interleaved schedule of %d stages takes microbatches in groups of %d, and %d are"
                      + " no whole number of them; use %s%d microbatches")
                  .formatted(
                      stages, stages, microbatches, less == 0 ? "" : less + " or ", less + stages));
    } else if (kind != TUNING) {
      require(
          chunks == 1,
          () ->
              "%d chunks a stage with a schedule of %s; use 1 chunk, or interleaved 1F1B"
                  .formatted(chunks, kind.title()));
    }
  }

  private static void requireFills(ScheduleKind kind, int stages, Fills fills) {
    require(
        fills.isEmpty() || kind == ONE_F_ONE_B,
        () -> "a schedule of %s cannot be filled; use 1F1B, or no fills".formatted(kind.title()));
    require(
        fills.isEmpty() || stages >= 2,
        () -> "a pipeline of one stage has no bubble to fill; use no fills");
    for (int depth : fills.warmupStages()) {
      require(
          depth >= 1 && depth < stages,
          () ->
              "a warm-up fill through %d of %d stages; use at least 1 and at most %d"
                  .formatted(depth, stages, stages - 1));
    }
    for (int firstStage : fills.cooldownFirstStages()) {
      require(
          firstStage >= 1 && firstStage < stages,
          () ->
              "a cool-down fill back to stage %d of 0 to %d; use at least 1 and at most %d"
                  .formatted(firstStage, stages - 1, stages - 1));
    }
  }
}
