package org.eellm.eval.task;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.eellm.eval.task.Rouge.Overlap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Metrics of written answers, on examples that others have published. */
final class AnswerMetricsTest {
  private static final double EXACT = 1e-12;

  @Test
  void rouge_googlesExample_isWhatItsReadmeSays() {
    String reference = "The quick brown fox jumps over the lazy dog";
    String text = "The quick brown dog jumps on the log.";

    assertOverlap(Rouge.n(1, reference, text), 0.75, 0.6666666666666666, 0.7058823529411765);
    assertOverlap(Rouge.longest(reference, text), 0.625, 0.5555555555555556, 0.5882352941176471);
  }

  /** Lin 2004, section 3.1 and 2: the reference and two candidates. */
  @Test
  void rouge_linsExample_isWhatThePaperSays() {
    String reference = "police killed the gunman";
    String second = "police kill the gunman";
    String third = "the gunman kill police";

    assertThat(Rouge.longest(reference, second).f()).isCloseTo(0.75, within(EXACT));
    assertThat(Rouge.longest(reference, third).f()).isCloseTo(0.5, within(EXACT));
    assertThat(Rouge.n(2, reference, second)).isEqualTo(Rouge.n(2, reference, third));
    assertThat(Rouge.n(2, reference, second).recall()).isCloseTo(1.0 / 3, within(EXACT));
  }

  /** Examples of rouge_score's own tests. */
  @Test
  void rouge_partOfTheReference_hasFullPrecision() {
    String reference = "testing one two";

    assertOverlap(Rouge.n(1, reference, "testing"), 1, 1.0 / 3, 0.5);
    assertOverlap(Rouge.n(2, reference, "testing one"), 1, 0.5, 2.0 / 3);
    assertOverlap(Rouge.longest(reference, "testing one"), 1, 2.0 / 3, 0.8);
    assertThat(Rouge.n(1, reference, "").f()).isZero();
    assertThat(Rouge.n(2, reference, "testing").f()).isZero();
  }

  private static void assertOverlap(Overlap overlap, double precision, double recall, double f) {
    assertThat(overlap.precision()).isCloseTo(precision, within(EXACT));
    assertThat(overlap.recall()).isCloseTo(recall, within(EXACT));
    assertThat(overlap.f()).isCloseTo(f, within(EXACT));
  }

  /** The first three are the example of the SQuAD metric in Hugging Face's evaluate: 2 of 3. */
  @ParameterizedTest
  @CsvSource({
    "1976, 1976, 1, 1",
    "Beyoncé and Bruno Mars, Beyonce, 0, 0",
    "climate change, climate change, 1, 1",
    "the Cat!, a cat, 1, 1",
    "Santa Clara, 'Santa Clara, California', 0, 0.8",
    "a b b, b b b, 0, 0.8",
  })
  void squad_exactMatchAndF1(String reference, String text, double exact, double f1) {
    assertThat(of(Metric.QUASI_EXACT_MATCH, text, reference)).isEqualTo(exact);
    assertThat(of(Metric.F1, text, reference)).isCloseTo(f1, within(EXACT));
  }

  @Test
  void f1OfSets_countsAWordOnce() {
    assertThat(of(Metric.F1_SET, "dog dog cat", "dog cat")).isEqualTo(1);
    assertThat(of(Metric.F1, "dog dog cat", "dog cat")).isCloseTo(0.8, within(EXACT));
  }

  @ParameterizedTest
  @CsvSource({
    "'She has 16 - 3 - 4 = <<16-3-4=9>>9. #### 18', 'So the answer is 18.', 1",
    "#### 1234, 'that is 1,234 dollars', 1",
    "#### 70000, '70,000.00', 1",
    "#### 18, 'first 18 then 19', 0",
    "#### -5, 'it is -5', 1",
    "#### 5, 'none at all', 0",
  })
  void finalNumber_comparesTheLastOnes(String reference, String text, double expected) {
    assertThat(of(Metric.FINAL_NUMBER, text, reference)).isEqualTo(expected);
  }

  @Test
  void exactMatch_isStrictButForWhiteSpaceAround() {
    assertThat(of(Metric.EXACT_MATCH, " Paris\n", "Paris")).isEqualTo(1);
    assertThat(of(Metric.EXACT_MATCH, "paris", "Paris")).isZero();
  }

  private static double of(Metric metric, String text, String reference) {
    return metric.of(new Outcome.Written(0, "", false, text, List.of(reference), 0, 0), List.of());
  }
}
