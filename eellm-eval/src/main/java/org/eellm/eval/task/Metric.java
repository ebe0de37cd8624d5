package org.eellm.eval.task;

import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.function.BiPredicate;
import java.util.function.IntToDoubleFunction;
import java.util.function.ToDoubleBiFunction;
import java.util.function.ToDoubleFunction;
import org.eellm.config.HeadId;
import org.eellm.eval.Estimate;
import org.eellm.eval.task.Outcome.Choice;
import org.eellm.eval.task.Outcome.Score;
import org.eellm.eval.task.Outcome.Scored;
import org.eellm.eval.task.Outcome.Text;
import org.eellm.eval.task.Outcome.Written;
import org.eellm.eval.task.TaskSpec.OutputType;

/** A figure that is measured of a task's outcomes. */
@SuppressWarnings("ImmutableEnumChecker") // the functions have no state
public enum Metric {
  /** Share of right answers: the most probable choice, or an answer that is each token's best. */
  ACC(
      (outcome, scores) ->
          outcome instanceof Choice choice
              ? best(scores, i -> 1) == choice.right()
              : scores.getFirst().greedy(),
      OutputType.LOGLIKELIHOOD,
      OutputType.MULTIPLE_CHOICE),
  /** Share of right choices by log likelihoods divided by the answers' lengths in characters. */
  ACC_NORM(
      (outcome, scores) ->
          outcome instanceof Choice choice
              && best(scores, i -> choice.characters().get(i)) == choice.right(),
      OutputType.MULTIPLE_CHOICE),
  /** Of whole answers: e to the mean negative log likelihood. */
  PERPLEXITY(OutputType.LOGLIKELIHOOD, _ -> 1),
  /** Of a word of text, divided at white space. */
  WORD_PERPLEXITY(OutputType.LOGLIKELIHOOD_ROLLING, text -> Text.class.cast(text).words()),
  /** Of a byte of text. */
  BYTE_PERPLEXITY(OutputType.LOGLIKELIHOOD_ROLLING, text -> Text.class.cast(text).bytes()),
  /** Bits that a byte of text takes. */
  BITS_PER_BYTE(OutputType.LOGLIKELIHOOD_ROLLING, text -> Text.class.cast(text).bytes()),
  /** Words that answer and reference share (Lin 2004); F-measure. */
  ROUGE1((text, reference) -> Rouge.n(1, reference, text).f()),
  /** Pairs of neighbouring words that answer and reference share; F-measure. */
  ROUGE2((text, reference) -> Rouge.n(2, reference, text).f()),
  /** Longest common subsequence of words; F-measure. */
  ROUGE_L((text, reference) -> Rouge.longest(reference, text).f()),
  /** Words that normalised answer and reference share, each as often as it comes (SQuAD). */
  F1((text, reference) -> AnswerMetrics.f1(reference, text)),
  /** Words that normalised answer and reference share, each once (HELM). */
  F1_SET((text, reference) -> AnswerMetrics.f1OfSets(reference, text)),
  /** Answer and reference are the same but for white space around them. */
  EXACT_MATCH((text, reference) -> share(text.strip().equals(reference.strip()))),
  /** Equality after normalisation of case, punctuation, articles and white space (SQuAD, HELM). */
  QUASI_EXACT_MATCH(
      (text, reference) ->
          share(AnswerMetrics.normalized(text).equals(AnswerMetrics.normalized(reference)))),
  /** The last number in the answer is the last one in the reference (HELM, for GSM8K). */
  FINAL_NUMBER((text, reference) -> share(AnswerMetrics.sameFinalNumber(reference, text)));

  private final boolean higherIsBetter;
  private final Set<OutputType> types;
  private final ToDoubleBiFunction<Outcome, List<Score>> ofItem;
  private final ToDoubleFunction<Outcome> weight;

  /** The share of items of which something holds. */
  Metric(BiPredicate<Outcome, List<Score>> right, OutputType... types) {
    higherIsBetter = true;
    this.types = Set.of(types);
    ofItem = (outcome, scores) -> share(right.test(outcome, scores));
    weight = _ -> 1;
  }

  /** The negative log likelihood of items, divided by their weight. */
  Metric(OutputType type, ToDoubleFunction<Outcome> weight) {
    higherIsBetter = false;
    types = Set.of(type);
    ofItem = (_, scores) -> -scores.getFirst().logLikelihood() / (inBits() ? Math.log(2) : 1);
    this.weight = weight;
  }

  /** The mean of texts beside the best of their references. */
  Metric(ToDoubleBiFunction<String, String> ofText) {
    higherIsBetter = true;
    types = Set.of(OutputType.GENERATE_UNTIL);
    ofItem =
        (outcome, _) -> {
          Written written = Written.class.cast(outcome);
          return written.references().stream()
              .mapToDouble(reference -> ofText.applyAsDouble(written.text(), reference))
              .max()
              .orElse(0);
        };
    weight = _ -> 1;
  }

  private static double share(boolean right) {
    return right ? 1 : 0;
  }

  private boolean inBits() {
    return this == BITS_PER_BYTE;
  }

  public boolean higherIsBetter() {
    return higherIsBetter;
  }

  /** Whether it can be measured of this type of task. */
  public boolean suits(OutputType type) {
    return types.contains(type);
  }

  /** The value of an item at a head. */
  public double of(Outcome outcome, List<Score> scores) {
    return ofItem.applyAsDouble(outcome, scores);
  }

  /** The value of many items at a head: their sum over that of their weights, or e to it. */
  Estimate estimate(List<Outcome> outcomes, HeadId head) {
    double[] weights = outcomes.stream().mapToDouble(weight).toArray();
    Estimate mean = Estimate.ratio(values(outcomes, head), weights);
    return higherIsBetter || inBits() ? mean : mean.map(Math::exp, Math::exp);
  }

  private double[] values(List<Outcome> outcomes, HeadId head) {
    return outcomes.stream().mapToDouble(outcome -> of(outcome, scores(outcome, head))).toArray();
  }

  private static List<Score> scores(Outcome outcome, HeadId head) {
    return outcome instanceof Scored scored
        ? scored.heads().getOrDefault(head, List.of())
        : List.of();
  }

  /** The most probable answer, log likelihoods divided by lengths; the first of equals. */
  private static int best(List<Score> scores, IntToDoubleFunction length) {
    int best = 0;
    for (int i = 1; i < scores.size(); i++) {
      if (scores.get(i).logLikelihood() / length.applyAsDouble(i)
          > scores.get(best).logLikelihood() / length.applyAsDouble(best)) {
        best = i;
      }
    }
    return best;
  }

  /** The name in files: {@code acc_norm}. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
