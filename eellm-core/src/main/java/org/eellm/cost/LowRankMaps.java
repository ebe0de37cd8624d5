package org.eellm.cost;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import org.eellm.config.Learning;
import org.eellm.config.ModelConfig;
import org.eellm.config.TuneConfig.Lora;
import org.eellm.config.TuneConfig.Projection;

/**
 * Linear maps of a layer that read the same, k of which low-rank factors change, as a rank has
 * them: the k A are one matrix, [k rank, in], and each map has its B, [out, rank].
 *
 * @param in width of what they read
 * @param outs widths of what they give, of those that are changed
 * @param rank of a change
 * @param byOutputs whether tensor-parallel ranks share out what they give, or else what they read
 */
record LowRankMaps(long in, List<Long> outs, long rank, boolean byOutputs) {

  /** The changed maps of a layer; none where something else learns. */
  static List<LowRankMaps> of(ModelConfig model, Learning learning, int ranks) {
    List<LowRankMaps> maps = new ArrayList<>(ofAttention(model, learning, ranks));
    maps.addAll(ofMlp(model, learning, ranks));
    return maps;
  }

  /** The changed maps of a layer's attention; none where something else learns. */
  static List<LowRankMaps> ofAttention(ModelConfig model, Learning learning, int ranks) {
    long query = (long) model.numHeads() * model.headDim() / ranks;
    long keyValue = (long) model.numKeyValueHeads() * model.headDim() / ranks;
    SequencedMap<Projection, Long> first = new LinkedHashMap<>();
    first.put(Projection.Q_PROJ, query);
    first.put(Projection.K_PROJ, keyValue);
    first.put(Projection.V_PROJ, keyValue);
    return of(learning, model.hiddenSize(), first, query, Projection.O_PROJ);
  }

  /** The changed maps of a layer's MLP; none where something else learns. */
  static List<LowRankMaps> ofMlp(ModelConfig model, Learning learning, int ranks) {
    long active = model.ffnHiddenSize() / ranks;
    SequencedMap<Projection, Long> first = new LinkedHashMap<>();
    first.put(Projection.UP_PROJ, active);
    if (model.activation().gated()) {
      first.put(Projection.GATE_PROJ, active);
    }
    return of(learning, model.hiddenSize(), first, active, Projection.DOWN_PROJ);
  }

  /**
   * @param first maps of the stream, with the widths of what they give
   * @param between width of what the last map reads, which gives the stream
   */
  private static List<LowRankMaps> of(
      Learning learning,
      long hidden,
      SequencedMap<Projection, Long> first,
      long between,
      Projection last) {
    if (!(learning instanceof Learning.Adapter(Lora lora))) {
      return List.of();
    }
    List<LowRankMaps> maps = new ArrayList<>();
    first.keySet().removeIf(map -> !lora.changes(map.toString()));
    if (!first.isEmpty()) {
      maps.add(new LowRankMaps(hidden, List.copyOf(first.values()), lora.rank(), true));
    }
    if (lora.changes(last.toString())) {
      maps.add(new LowRankMaps(between, List.of(hidden), lora.rank(), false));
    }
    return maps;
  }

  /** Width of what all A give. */
  long inner() {
    return outs.size() * rank;
  }

  /** Numbers of the factors. */
  long parameters() {
    return inner() * in + rank * outs.stream().mapToLong(Long::longValue).sum();
  }
}
