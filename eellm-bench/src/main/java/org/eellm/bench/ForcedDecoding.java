package org.eellm.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.eellm.decode.Batch;
import org.eellm.decode.DecodeMeter;
import org.eellm.decode.cache.PagePool;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.request.IndexedListener;
import org.eellm.decode.request.Job;
import org.eellm.decode.request.Request;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.TokenListener;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.model.DecodingModel;
import org.eellm.model.Head;

/**
 * Lets a batch write texts whose tokens all leave at one head, by the same runner again and again.
 *
 * @param batch with no running request
 * @param seed of the prompts
 */
record ForcedDecoding(DecodingModel model, Batch batch, long seed) {
  /** Tokens of a prompt: less than a page, so that nothing is reused. */
  private static final int PROMPT = ModelRunner.PAGE;

  /** Pages that so many texts take. */
  static int pages(int texts, int tokens) {
    return texts * PagePool.pages(PROMPT + tokens);
  }

  /**
   * Writes texts.
   *
   * @param tokens of each
   * @return the rate of all texts together, after each text's first token
   */
  double tokensPerSecond(Head head, int texts, int tokens) {
    ExitPolicy policy = head.isExit() ? ExitPolicies.fixed(head.layer()) : ExitPolicies.full();
    Random random = new Random(seed);
    int vocabSize = model.architecture().model().vocabSize();
    boolean[] begun = new boolean[texts];
    int[] left = {texts};
    TokenListener listener =
        (text, _) -> {
          left[0] -= begun[text] ? 0 : 1;
          begun[text] = true;
          return Reaction.CONTINUE;
        };
    List<Job> jobs = new ArrayList<>();
    for (int i = 0; i < texts; i++) {
      List<Integer> prompt = random.ints(PROMPT, 0, vocabSize).boxed().toList();
      Request request = new Request(prompt, tokens, Set.of(), policy, Sampler.greedy());
      jobs.add(batch.job(request, "prompt " + (i + 1), new IndexedListener(i, listener)));
    }
    jobs.forEach(batch::add);
    while (left[0] > 0) {
      batch.step();
    }
    DecodeMeter meter = batch.meter();
    while (!batch.isIdle()) {
      batch.step();
    }
    return meter.stats().tokensPerSecond();
  }
}
