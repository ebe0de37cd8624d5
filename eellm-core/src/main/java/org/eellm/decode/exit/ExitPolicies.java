package org.eellm.decode.exit;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SortedSet;
import java.util.TreeSet;
import org.eellm.config.ConfigException;
import org.eellm.config.SettingException;
import org.eellm.decode.token.Prediction;
import org.eellm.model.Head;

/** The usual exit policies. */
public final class ExitPolicies {
  private ExitPolicies() {}

  /**
   * A token leaves where the most probable id has at least this probability (EE-LLM). An exit whose
   * threshold is 1 or more is not asked: a softmax never quite gives 1, but for rounding.
   */
  public static ExitPolicy maxProbability(Threshold atLeast) {
    return comparing(PolicyName.MAX_PROBABILITY, atLeast);
  }

  /**
   * A token leaves where the two most probable ids are at least this far apart (CALM). An exit
   * whose threshold is 1 or more is not asked.
   */
  public static ExitPolicy margin(Threshold atLeast) {
    return comparing(PolicyName.MARGIN, atLeast);
  }

  /**
   * A token leaves where the distribution's entropy is at most this, in nats (BranchyNet). An exit
   * whose threshold is 0 or less is not asked.
   */
  public static ExitPolicy entropy(Threshold atMost) {
    return comparing(PolicyName.ENTROPY, atMost);
  }

  private static ExitPolicy comparing(PolicyName name, Threshold threshold) {
    return name.thresholdRule().orElseThrow().policy(threshold);
  }

  /**
   * A token leaves where as many exits in a row as {@code count} have the same most probable id
   * (PABEE).
   */
  public static ExitPolicy patience(int count) {
    if (count < 1) {
      throw new SettingException("patience", count + " is below 1; use 1 or more exits");
    }
    return prediction -> {
      List<Prediction> earlier = prediction.earlier();
      int others = count - 1;
      return earlier.size() >= others
          && earlier.subList(earlier.size() - others, earlier.size()).stream()
              .allMatch(other -> other.best() == prediction.best());
    };
  }

  /** Every token leaves at the exit after {@code layer}; nothing above it is computed. */
  public static ExitPolicy fixed(int layer) {
    return new Choice(prediction -> true, all -> exits(all, List.of(layer)), Map.of());
  }

  /** No token leaves early: the full model, whose exits are not computed. */
  public static ExitPolicy full() {
    return new Choice(prediction -> true, all -> List.of(all.getLast()), Map.of());
  }

  /**
   * A policy that asks only some of the exits, beside the final head.
   *
   * @param layers the exits' layers, from 1
   */
  public static ExitPolicy among(List<Integer> layers, ExitPolicy policy) {
    return new Choice(
        policy,
        all -> {
          List<Head> some = new ArrayList<>(exits(all, layers));
          some.add(all.getLast());
          return policy.heads(some);
        },
        policy.gates());
  }

  /**
   * A policy that sees what exits say with their logits divided by temperatures.
   *
   * @param byLayer the exits' layers, from 1; an exit without one is seen as it is
   */
  public static ExitPolicy tempered(Map<Integer, Double> byLayer, ExitPolicy policy) {
    Map<Integer, Double> known = Map.copyOf(byLayer);
    return new Choice(
        prediction ->
            policy.leaves(prediction.tempered(known.getOrDefault(prediction.head().layer(), 1.0))),
        policy::heads,
        policy.gates());
  }

  /**
   * A token leaves where a gate is at least this sure that the exit's token is the full model's. An
   * exit whose threshold is 1 or more is not asked. The gates' exits alone are asked, for the short
   * list of ids alone.
   *
   * @param gates by the exits' layers, from 1
   */
  public static ExitPolicy gated(Map<Integer, Gate> gates, Threshold atLeast) {
    ExitPolicy compared = ThresholdRule.ofGates(gates).policy(atLeast);
    return among(
        List.copyOf(gates.keySet()), new Choice(compared, compared::heads, Map.copyOf(gates)));
  }

  /** The exits after some layers, in order of depth. */
  public static List<Head> exits(List<Head> all, List<Integer> layers) {
    List<Head> exits = all.subList(0, all.size() - 1);
    SortedSet<Integer> unknown = new TreeSet<>(layers);
    exits.forEach(head -> unknown.remove(head.layer()));
    if (!unknown.isEmpty()) {
      throw new ConfigException(
          "exits: no exit after layer %d; %s"
              .formatted(
                  unknown.getFirst(),
                  exits.isEmpty()
                      ? "this model has none at all, use the full model"
                      : "this model has exits after " + exits.stream().map(Head::layer).toList()));
    }
    return exits.stream().filter(head -> layers.contains(head.layer())).toList();
  }

  private record Choice(ExitPolicy decision, HeadChoice choice, Map<Integer, Gate> gates)
      implements ExitPolicy {
    @Override
    public boolean leaves(Prediction prediction) {
      return decision.leaves(prediction);
    }

    @Override
    public List<Head> heads(List<Head> all) {
      return choice.of(all);
    }
  }

  @FunctionalInterface
  private interface HeadChoice extends Serializable {
    List<Head> of(List<Head> all);
  }
}
