package org.eellm.train;

import java.util.LinkedHashMap;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.SequencedMap;
import org.eellm.config.RunConfig;
import org.eellm.config.TrainConfig.Recompute;
import org.eellm.data.SampleSource;
import org.eellm.data.Tokenizer;
import org.eellm.model.Decoder;
import org.eellm.train.Chain.HeadScore;
import org.eellm.train.TrainEvent.Evaluation;
import org.eellm.train.TrainEvent.HeadQuality;

/** Measures every exit and the final head on the same first samples of the validation text. */
final class Evaluator {
  private final RunConfig config;
  private final SampleSource samples;
  private final Optional<Tokenizer> tokenizer;
  private final Chain chain;

  Evaluator(RunConfig config, SampleSource samples, Optional<Tokenizer> tokenizer, Decoder model) {
    this.config = config;
    this.samples = samples;
    this.tokenizer = tokenizer;
    this.chain = new Chain(model, Recompute.NONE, new double[config.model().numLayers()]);
  }

  /** The model as it is after a step. */
  Evaluation evaluate(long step) {
    int batchSize = config.train().microBatchSize();
    SequencedMap<String, HeadScore> sums = new LinkedHashMap<>();
    double bytes = 0;
    double tokens = 0;
    for (int i = 0; i < config.train().evalBatches(); i++) {
      Microbatch batch = Microbatch.of(samples, (long) i * batchSize, batchSize);
      chain.score(batch).forEach(score -> sums.merge(score.head(), score, Evaluator::sum));
      tokens += batch.targets().length;
      bytes += bytes(batch.targets());
    }
    SequencedMap<String, HeadQuality> heads = new LinkedHashMap<>();
    sums.forEach(
        (head, sum) ->
            heads.put(
                head, new HeadQuality(sum.loss() / sum.tokens(), sum.correct() / sum.tokens())));
    OptionalDouble bytesPerToken =
        bytes > 0 ? OptionalDouble.of(bytes / tokens) : OptionalDouble.empty();
    return new Evaluation(step, heads, bytesPerToken);
  }

  private static HeadScore sum(HeadScore first, HeadScore second) {
    return new HeadScore(
        first.head(),
        first.loss() + second.loss(),
        first.correct() + second.correct(),
        first.tokens() + second.tokens());
  }

  /** The text that tokens stand for, in UTF-8 bytes; 0 without a tokenizer. */
  private double bytes(int[] ids) {
    double bytes = 0;
    if (tokenizer.isPresent()) {
      for (int id : ids) {
        bytes += tokenizer.get().byteLength(id);
      }
    }
    return bytes;
  }
}
