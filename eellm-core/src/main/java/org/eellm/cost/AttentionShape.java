package org.eellm.cost;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Attention;
import org.eellm.config.RunConfig;

/**
 * What a layer's attention computes of a microbatch on one rank.
 *
 * @param scores of its heads, as far as they are computed
 * @param blockScores those of the largest block of queries
 * @param blocks of queries, as often as they meet keys
 * @param fused whether libtorch's fused kernels attend; their backward pass computes the scores
 *     again
 * @param capped whether scores are capped
 */
record AttentionShape(long scores, long blockScores, long blocks, boolean fused, boolean capped) {

  /** Queries of a block, at least, and the most blocks of a sequence, as attention has them. */
  private static final long BLOCK = 128;

  private static final long MAX_BLOCKS = 16;

  /**
   * Those of a rank's attentions, by the index that {@link ModelConfig#attention} takes: of all
   * layers, and of exits' blocks.
   */
  static List<AttentionShape> ofRank(RunConfig config, Hardware hardware) {
    ModelConfig model = config.model();
    Map<Attention, AttentionShape> made = new HashMap<>();
    return IntStream.rangeClosed(0, model.numLayers())
        .mapToObj(index -> model.attention(index).shard(config.parallel().tp()))
        .map(each -> made.computeIfAbsent(each, attention -> of(config, hardware, attention)))
        .toList();
  }

  /**
   * In a ring, queries are cut within each of the two blocks of a sequence that a rank has, and
   * meet all keys of a block that one of them sees. Counted is the first rank's share.
   */
  private static AttentionShape of(RunConfig config, Hardware hardware, Attention attention) {
    long ranks = config.parallel().cp();
    long sequence = config.data().sequenceLength();
    long part = ranks > 1 ? sequence / ranks / 2 : sequence;
    long length = Math.ceilDiv(part, Math.clamp(part / BLOCK, 1, MAX_BLOCKS));
    long pairs = 0;
    long largest = 0;
    long blocks = 0;
    for (long mine : ranks > 1 ? new long[] {0, 2 * ranks - 1} : new long[] {0}) {
      for (long theirs = 0; theirs <= mine; theirs++) {
        for (long start = 0; start < part; start += length) {
          long queries = Math.min(length, part - start);
          long end = theirs == mine ? start + queries : part;
          long first = Math.max(0, (mine - theirs) * part + start - attention.window() + 1L);
          if (first < end) {
            long seen = queries * (ranks > 1 ? end : end - first);
            pairs += seen;
            largest = Math.max(largest, seen);
            blocks++;
          }
        }
      }
    }
    long heads = (long) config.train().microBatchSize() * attention.heads();
    return new AttentionShape(
        heads * pairs,
        heads * largest,
        blocks,
        hardware.fusesAttention(config, attention),
        attention.softcap() > 0);
  }
}
