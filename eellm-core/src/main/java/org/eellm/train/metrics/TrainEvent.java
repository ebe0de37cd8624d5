package org.eellm.train.metrics;

import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.SequencedMap;
import org.eellm.config.HeadId;
import org.eellm.train.optimizer.StepGuard.UpdateDecision;

/**
 * Something a run reports. Each {@link MetricsSink} shows it in its own way: all values by name in
 * {@code metrics.jsonl} and TensorBoard, a line for people on the console.
 *
 * <p>Heads go by the names of {@link HeadId}, exits first.
 */
public sealed interface TrainEvent {

  /** The step, from 1, after which this was so. */
  long step();

  /** Every value under its name in {@code metrics.jsonl}; the step is not among them. */
  SequencedMap<String, Object> values();

  /**
   * One optimizer step.
   *
   * @param loss the weighted objective {@code L_final + sum_n w_n L_n}, mean over the step's
   *     counted tokens; without the final head's where only exits learn
   * @param losses each head's own loss in nats a token; a head that was not computed in this step
   *     is absent
   * @param exitWeights each exit's weight in this step
   * @param gradientNorm global L2 norm before clipping
   * @param batchSize sequences in this step
   * @param countedTokens tokens of these that the loss counts; empty where it counts all
   * @param tokens tokens trained on since the run's first step
   * @param tokensPerSecond of this step alone
   * @param mfu model FLOP/s of this step over the machine's measured matrix rate
   * @param seconds time spent training since the run's first step
   * @param decision whether the update was made
   * @param waiting share of the step's time that ranks waited for other stages of the pipeline, on
   *     average: what is seen of the bubble
   * @param memory resident bytes of the fullest rank
   */
  record Step(
      long step,
      double loss,
      SequencedMap<HeadId, Double> losses,
      SequencedMap<HeadId.Exit, Double> exitWeights,
      double learningRate,
      double gradientNorm,
      int batchSize,
      OptionalLong countedTokens,
      long tokens,
      double tokensPerSecond,
      double mfu,
      double seconds,
      UpdateDecision decision,
      double waiting,
      long memory)
      implements TrainEvent {

    @Override
    public SequencedMap<String, Object> values() {
      SequencedMap<String, Object> values = new LinkedHashMap<>();
      values.put("loss", loss);
      losses.forEach((head, value) -> values.put("loss_" + head, value));
      exitWeights.forEach((exit, value) -> values.put("exit_weight_" + exit.layer(), value));
      values.put("learning_rate", learningRate);
      values.put("grad_norm", gradientNorm);
      values.put("batch_size", batchSize);
      countedTokens.ifPresent(count -> values.put("counted_tokens", count));
      values.put("tokens", tokens);
      values.put("tokens_per_second", tokensPerSecond);
      values.put("mfu", mfu);
      values.put("seconds", seconds);
      values.put("waiting", waiting);
      values.put("memory", memory);
      if (decision != UpdateDecision.APPLY) {
        values.put("skipped", decision.name().replaceFirst("SKIP_", "").toLowerCase(Locale.ROOT));
      }
      return values;
    }
  }

  /**
   * How good every head is on the validation text.
   *
   * @param heads each head's quality
   * @param bytesPerToken bytes of text a validation token stands for; empty where no tokenizer is
   *     known
   */
  record Evaluation(
      long step, SequencedMap<HeadId, HeadQuality> heads, OptionalDouble bytesPerToken)
      implements TrainEvent {

    @Override
    public SequencedMap<String, Object> values() {
      SequencedMap<String, Object> values = new LinkedHashMap<>();
      heads.forEach((head, quality) -> values.put("validation_loss_" + head, quality.loss()));
      heads.forEach(
          (head, quality) -> values.put("validation_perplexity_" + head, quality.perplexity()));
      bytesPerToken.ifPresent(
          bytes ->
              heads.forEach(
                  (head, quality) ->
                      values.put("validation_bits_per_byte_" + head, quality.bitsPerByte(bytes))));
      heads.forEach(
          (head, quality) -> values.put("validation_accuracy_" + head, quality.accuracy()));
      heads.forEach(
          (head, quality) ->
              quality
                  .agreement()
                  .ifPresent(share -> values.put("validation_agreement_" + head, share)));
      return values;
    }
  }

  /**
   * One head on the validation text.
   *
   * @param loss mean cross entropy in nats a token
   * @param accuracy share of tokens that the head's likeliest guess got right
   * @param agreement share of tokens where that is the final head's guess; empty where they were
   *     not compared
   */
  record HeadQuality(double loss, double accuracy, OptionalDouble agreement) {

    /** {@code exp(loss)}. */
    public double perplexity() {
      return Math.exp(loss);
    }

    /**
     * The loss in bits a byte of text, which compares models with different tokenizers.
     *
     * @param bytesPerToken bytes of text a token stands for
     */
    public double bitsPerByte(double bytesPerToken) {
      return loss / Math.log(2) / bytesPerToken;
    }
  }
}
