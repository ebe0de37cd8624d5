package org.eellm.config;

import static org.eellm.config.ConfigException.require;
import static org.eellm.config.ConfigException.requireNotNegative;
import static org.eellm.config.ConfigException.requirePositive;

import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import org.eellm.config.setting.NoEffectWith;
import org.eellm.config.setting.NoEffectWith.Choice;

/**
 * The early exits and their part of the objective: {@code L_final + sum_n w_n(step) L_n}.
 *
 * @param layers layers whose output the exits read, ascending
 * @param head modules of every exit's head beside the output matrix
 * @param tieOutput the exits share the final head's output matrix
 * @param weights target loss weight of each exit; empty: 1 for each
 * @param curriculum how the weights reach their targets
 * @param initialWeights initial weights of {@code linear}, {@code cosine} and {@code step}; empty:
 *     0 for each
 * @param curriculumSteps steps over which the curriculum runs
 * @param dynamicTokenWeights each token's loss at an exit is multiplied by that exit's maximum
 *     probability
 * @param distillation weight of an exit's divergence from the final head, beside its cross entropy
 * @param distillationStart steps without distillation at the beginning
 * @param distillationSteps steps after these in which its weight rises linearly; 0: at once
 * @param temperatures divides each exit's logits in the loss; empty: 1 for each
 */
public record ExitsConfig(
    List<Integer> layers,
    @NoEffectWith(Choice.NO_EXITS) Set<HeadPart> head,
    @NoEffectWith(Choice.NO_EXITS) boolean tieOutput,
    List<Double> weights,
    @NoEffectWith({Choice.NO_EXITS, Choice.TUNING_DRAFT_HEAD}) Curriculum curriculum,
    @NoEffectWith({Choice.CONSTANT_WEIGHTS, Choice.ROTATIONAL_WEIGHTS, Choice.GRADUAL_WEIGHTS})
        List<Double> initialWeights,
    int curriculumSteps,
    @NoEffectWith({Choice.NO_EXITS, Choice.TUNING_DRAFT_HEAD}) boolean dynamicTokenWeights,
    @NoEffectWith({Choice.NO_EXITS, Choice.TUNING_EXITS}) double distillation,
    @NoEffectWith(Choice.NO_DISTILLATION) int distillationStart,
    @NoEffectWith(Choice.NO_DISTILLATION) int distillationSteps,
    List<Double> temperatures) {

  /** Beyond it an objective of float32 numbers has nothing left of the other heads. */
  private static final double MAX_WEIGHT = 1e6;

  public enum HeadPart {
    MLP,
    BLOCK,
    NORM
  }

  /**
   * CONSTANT: the targets throughout. LINEAR, COSINE: from initial to target over {@code
   * curriculumSteps} (EE-LLM). STEP: the initial weights before {@code curriculumSteps}, then the
   * targets. ROTATIONAL: one exit a step in turn until {@code curriculumSteps}, then all. GRADUAL:
   * exits join from the deepest to the shallowest, the last at {@code curriculumSteps} (LayerSkip,
   * arXiv 2404.16710).
   */
  public enum Curriculum {
    CONSTANT,
    LINEAR,
    COSINE,
    STEP,
    ROTATIONAL,
    GRADUAL
  }

  public ExitsConfig {
    layers = List.copyOf(layers);
    EnumSet<HeadPart> ordered = EnumSet.noneOf(HeadPart.class);
    ordered.addAll(head);
    head = Collections.unmodifiableSet(ordered);
    weights = orDefault(weights, layers.size(), 1.0, "exits.weights");
    initialWeights = orDefault(initialWeights, layers.size(), 0.0, "exits.initial_weights");
    temperatures = orDefault(temperatures, layers.size(), 1.0, "exits.temperatures");
    requireWeights("exits.weights", weights);
    requireWeights("exits.initial_weights", initialWeights);
    for (double temperature : temperatures) {
      requirePositive(temperature, "exits.temperatures", "1 changes nothing");
    }
    requireNotNegative(distillation, "exits.distillation", "0 switches it off, 0.5 to 1 is usual");
    requireNotNegative(distillationStart, "exits.distillation_start", "use 0 or more");
    requireNotNegative(
        distillationSteps, "exits.distillation_steps", "0 has the whole weight at once");
    requireNotNegative(curriculumSteps, "exits.curriculum_steps", "use 0 or more");
    require(
        curriculum == Curriculum.CONSTANT || curriculumSteps > 0,
        "exits.curriculum_steps",
        curriculumSteps + " leaves the curriculum no time; use 1 or more, or curriculum: constant");
    require(
        curriculum != Curriculum.CONSTANT || curriculumSteps == 0,
        "exits.curriculum_steps",
        curriculumSteps
            + " has no effect with curriculum: constant; remove it or name a curriculum");
  }

  private static void requireWeights(String key, List<Double> weights) {
    for (double weight : weights) {
      requireNotNegative(weight, key, "use 0 or more");
      require(
          weight <= MAX_WEIGHT,
          key,
          "%s is beyond %.0f; the final head's is 1",
          weight,
          MAX_WEIGHT);
    }
  }

  private static List<Double> orDefault(List<Double> values, int count, double value, String key) {
    require(
        values.isEmpty() || values.size() == count,
        key,
        values.size() + " values for " + count + " exits; give one for each exit, or none");
    return values.isEmpty() ? Collections.nCopies(count, value) : List.copyOf(values);
  }

  /** No exits. */
  public static ExitsConfig none() {
    return new ExitsConfig(
        List.of(),
        Set.of(),
        false,
        List.of(),
        Curriculum.CONSTANT,
        List.of(),
        0,
        false,
        0,
        0,
        0,
        List.of());
  }

  /** The architecture's part of this section. */
  public ExitLayout layout() {
    return new ExitLayout(
        layers,
        head.contains(HeadPart.NORM),
        head.contains(HeadPart.MLP),
        head.contains(HeadPart.BLOCK),
        tieOutput);
  }
}
