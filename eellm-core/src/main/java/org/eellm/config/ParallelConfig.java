package org.eellm.config;

import static org.eellm.config.ConfigException.require;
import static org.eellm.config.ConfigException.requireAtLeast;

import java.util.List;
import java.util.Map;
import org.eellm.config.setting.MayChangeOnResume;
import org.eellm.config.setting.NoEffectWith;
import org.eellm.config.setting.NoEffectWith.Choice;
import org.eellm.config.setting.RecordCopy;

/**
 * The mesh of ranks and the pipeline. World size is {@code tp x cp x dp x pp}.
 *
 * @param tp tensor-parallel size: ranks that share every matrix
 * @param cp context-parallel size: ranks that share every sequence, each with blocks of its tokens
 * @param dp data-parallel size: replicas of the pipeline, each with its part of the batch and of
 *     the optimizer's state (ZeRO-1)
 * @param pp pipeline-parallel size: stages
 * @param sequenceParallel each tensor-parallel rank holds its part of the tokens between the
 *     matrices
 * @param schedule the pipeline schedule
 * @param chunks virtual stages a rank; more than 1 interleaves them
 * @param balance how layers are divided among virtual stages where {@code layersPerStage} is empty
 * @param layersPerStage layers of each virtual stage; empty follows {@code balance}
 * @param preExit an exit on a stage boundary runs on the next stage
 * @param fillWarmup extra microbatches a step in the warm-up bubble; -1: as many as cost no time
 * @param fillCooldown the same in the cool-down bubble
 * @param bucketMegabytes size of the buckets in which gradients are summed over {@code dp}
 * @param timeoutSeconds seconds a rank waits for another
 */
public record ParallelConfig(
    @MayChangeOnResume int tp,
    @MayChangeOnResume int cp,
    @MayChangeOnResume int dp,
    @MayChangeOnResume int pp,
    @MayChangeOnResume boolean sequenceParallel,
    @MayChangeOnResume @NoEffectWith(Choice.TUNING_ON_TEXT) PipelineSchedule schedule,
    @MayChangeOnResume int chunks,
    @MayChangeOnResume @NoEffectWith(Choice.ONE_STAGE) Balance balance,
    @MayChangeOnResume List<Integer> layersPerStage,
    @MayChangeOnResume @NoEffectWith(Choice.ONE_STAGE) boolean preExit,
    @NoEffectWith(Choice.TUNING_EXITS) int fillWarmup,
    @NoEffectWith(Choice.TUNING_EXITS) int fillCooldown,
    @MayChangeOnResume @NoEffectWith(Choice.ONE_REPLICA) int bucketMegabytes,
    @MayChangeOnResume int timeoutSeconds) {

  /** Many times what the bubble of any pipeline takes. */
  private static final int MAX_FILLS = 256;

  /** As many microbatches fill the bubble as do not make the step longer. */
  public static final int AUTOMATIC = -1;

  public enum PipelineSchedule {
    ONE_FORWARD_ONE_BACKWARD,
    ALL_FORWARD_ALL_BACKWARD,
    ZERO_BUBBLE
  }

  /** EVEN: equal numbers of layers. COST: equal work, the heads' included. */
  public enum Balance {
    EVEN,
    COST
  }

  public ParallelConfig {
    layersPerStage = List.copyOf(layersPerStage);
    requireAtLeast(1, tp, "parallel.tp");
    requireAtLeast(1, cp, "parallel.cp");
    requireAtLeast(1, dp, "parallel.dp");
    requireAtLeast(1, pp, "parallel.pp");
    requireAtLeast(1, chunks, "parallel.chunks");
    requireAtLeast(1, bucketMegabytes, "parallel.bucket_megabytes");
    requireAtLeast(1, timeoutSeconds, "parallel.timeout_seconds");
    require(
        !sequenceParallel || tp > 1,
        "parallel.sequence_parallel",
        "has no effect with parallel.tp 1; remove it or use tp 2 or more");
    require(
        chunks == 1 || pp > 1,
        "parallel.chunks",
        chunks + " needs more than one stage; use parallel.pp 2 or more, or chunks 1");
    require(
        chunks == 1 || schedule == PipelineSchedule.ONE_FORWARD_ONE_BACKWARD,
        "parallel.chunks",
        chunks + " are interleaved with parallel.schedule one_forward_one_backward only");
    require(
        pp > 1 || schedule != PipelineSchedule.ZERO_BUBBLE,
        "parallel.schedule",
        "zero_bubble has no effect with parallel.pp 1; remove it or use pp 2 or more");
    require(
        layersPerStage.isEmpty() || layersPerStage.size() == pp * chunks,
        "parallel.layers_per_stage",
        "%s has %d entries for %d virtual stages (pp %d x chunks %d); give one for each",
        layersPerStage,
        layersPerStage.size(),
        pp * chunks,
        pp,
        chunks);
    require(
        layersPerStage.isEmpty() || balance == Balance.EVEN,
        "parallel.balance",
        "cost has no effect where parallel.layers_per_stage is given; remove one of them");
    for (int layers : layersPerStage) {
      require(
          layers >= 1,
          "parallel.layers_per_stage",
          layersPerStage + " leaves a stage without layers; give each 1 or more");
    }
    fill("parallel.fill_warmup", fillWarmup);
    fill("parallel.fill_cooldown", fillCooldown);
    require(
        (fillWarmup == 0 && fillCooldown == 0)
            || (pp > 1 && chunks == 1 && schedule == PipelineSchedule.ONE_FORWARD_ONE_BACKWARD),
        "parallel.fill_warmup, fill_cooldown",
        "fill the bubbles of schedule one_forward_one_backward with pp 2 or more and chunks 1; use"
            + " 0 otherwise");
  }

  /** A mesh of one. */
  public static ParallelConfig singleRank() {
    return of(1, 1, 1);
  }

  /** A mesh without context parallelism, with the defaults of all that is not its size. */
  public static ParallelConfig of(int tp, int dp, int pp) {
    return new ParallelConfig(
        tp,
        1,
        dp,
        pp,
        false,
        PipelineSchedule.ONE_FORWARD_ONE_BACKWARD,
        1,
        Balance.EVEN,
        List.of(),
        false,
        0,
        0,
        32,
        600);
  }

  /** This mesh with another number of replicas. */
  public ParallelConfig withDp(int replicas) {
    return RecordCopy.with(this, "dp", replicas);
  }

  /** A plain pipeline of another size: equal stages, one a rank, without fills. */
  public ParallelConfig reshaped(int tp, int dp, int pp) {
    return RecordCopy.with(
        of(tp, dp, pp),
        Map.of("cp", cp, "bucketMegabytes", bucketMegabytes, "timeoutSeconds", timeoutSeconds));
  }

  /** This mesh with layers and exits dealt to its stages in another way. */
  public ParallelConfig withStages(int chunksEach, Balance by, boolean behind) {
    return RecordCopy.with(this, Map.of("chunks", chunksEach, "balance", by, "preExit", behind));
  }

  /** This mesh with another schedule. */
  public ParallelConfig withSchedule(PipelineSchedule other) {
    return RecordCopy.with(this, "schedule", other);
  }

  /** This mesh with tokens shared out between the matrices, or not. */
  public ParallelConfig withSequenceParallel(boolean shared) {
    return RecordCopy.with(this, "sequenceParallel", shared);
  }

  /** Number of ranks. */
  public int worldSize() {
    return copies() * tp * pp;
  }

  /** Number of ranks that hold the same parameters, and share out their optimizer state. */
  public int copies() {
    return cp * dp;
  }

  private static void fill(String key, int count) {
    require(
        count >= AUTOMATIC,
        key,
        count + " is below -1; use -1 for as many as cost no time, 0 for none");
    require(
        count <= MAX_FILLS,
        key,
        "%d is beyond %d; use -1 for as many as cost no time",
        count,
        MAX_FILLS);
  }
}
