package org.eellm.checkpoint.huggingface.family;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.stream.IntStream;
import org.eellm.checkpoint.safetensors.JsonFields;
import org.eellm.config.Experts;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfigBuilder;

/**
 * Experts, where {@code num_experts} is there.
 *
 * @param width the field of an expert's inner width
 * @param mixed whether some layers may have one MLP: those listed, counted from 0, and all but
 *     every {@code decoder_sparse_step}-th
 */
record ExpertsField(String width, boolean mixed) implements Field {
  private static final String COUNT = "num_experts";
  private static final String PER_TOKEN = "num_experts_per_tok";
  private static final String NORM = "norm_topk_prob";
  private static final String DENSE = "mlp_only_layers";
  private static final String STEP = "decoder_sparse_step";

  @Override
  public void read(JsonFields from, ModelConfigBuilder into) {
    if (from.has(COUNT)) {
      into.experts(
          new Experts(
              from.positive(COUNT),
              from.positive(PER_TOKEN),
              from.positive(width),
              from.optionalBool(NORM).orElse(false),
              mixed ? dense(from) : List.of()));
    }
  }

  private static List<Integer> dense(JsonFields from) {
    List<Integer> listed = from.numbers(DENSE);
    int step = from.positive(STEP, 1);
    return IntStream.range(0, CommonFields.layers(from))
        .filter(layer -> listed.contains(layer) || (layer + 1) % step != 0)
        .map(layer -> layer + 1)
        .boxed()
        .toList();
  }

  @Override
  public void write(ModelConfig from, ObjectNode into) {
    Experts experts = from.experts();
    if (experts.count() == 0) {
      return;
    }
    into.put(COUNT, experts.count());
    into.put(PER_TOKEN, experts.perToken());
    into.put(width, experts.hiddenSize());
    into.put(NORM, experts.normWeights());
    if (mixed) {
      ArrayNode dense = into.put(STEP, 1).putArray(DENSE);
      experts.denseLayers().forEach(layer -> dense.add(layer - 1));
    }
  }
}
