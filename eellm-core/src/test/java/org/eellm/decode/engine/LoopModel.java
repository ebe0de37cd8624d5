package org.eellm.decode.engine;

import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.eellm.config.Architecture;
import org.eellm.config.ExitLayout;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.LayerType;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.ModelConfig.Residual;
import org.eellm.model.Decoder;
import org.eellm.model.Head;
import org.eellm.tensor.Tensors;

/** A model by plain loops in float64, of its configuration and parameters alone. */
public final class LoopModel {
  private final ModelConfig shape;
  private final ExitLayout exits;
  private final Map<String, double[]> parameters = new HashMap<>();

  /** Of a model's parameters as they are now. */
  public LoopModel(Decoder model) {
    Architecture architecture = model.architecture();
    shape = architecture.model();
    exits = architecture.exits();
    for (var parameter : model.parameters().all()) {
      float[] values = Tensors.toFloats(parameter.value());
      double[] numbers = new double[values.length];
      Arrays.setAll(numbers, i -> values[i]);
      parameters.put(parameter.name(), numbers);
    }
  }

  /** Logits of all heads, [heads][rows][vocabulary]. */
  public double[][][] logits(Decoder model, int[] ids) {
    int hidden = shape.hiddenSize();
    double[][] stream = new double[ids.length][hidden];
    for (int row = 0; row < ids.length; row++) {
      for (int i = 0; i < hidden; i++) {
        stream[row][i] =
            shape.embeddingScale() * get("model.embed_tokens.weight")[ids[row] * hidden + i];
        if (shape.positionEmbedding() == PositionEmbedding.LEARNED) {
          stream[row][i] += get("model.embed_positions.weight")[row * hidden + i];
        }
      }
    }
    double[][][] logits = new double[model.allHeads().size()][][];
    for (int layer = 0; layer < shape.numLayers(); layer++) {
      String name = "model.layers." + layer;
      double[][] input = stream;
      stream = add(stream, attention(name, layer, stream));
      if (exits.layers().contains(layer + 1) && exits.mlp()) {
        ask(model, logits, layer + 1, stream, input);
      }
      double[][] read = shape.residual() == Residual.PARALLEL ? input : stream;
      boolean routed = parameters.containsKey(name + ".mlp.gate.weight");
      stream = add(stream, routed ? experts(name, read) : mlp(name, name + ".mlp", read));
      if (exits.layers().contains(layer + 1) && !exits.mlp()) {
        ask(model, logits, layer + 1, stream, input);
      }
    }
    logits[logits.length - 1] = head(stream, "model.norm", outputOfTrunk());
    return logits;
  }

  private String outputOfTrunk() {
    return shape.tieEmbeddings() ? "model.embed_tokens.weight" : "lm_head.weight";
  }

  private void ask(
      Decoder model, double[][][] logits, int layer, double[][] stream, double[][] input) {
    Head head =
        model.allHeads().stream().filter(h -> h.isExit() && h.layer() == layer).findFirst().get();
    String name = "exits." + layer;
    double[][] x = stream;
    if (exits.mlp()) {
      double[][] read = shape.residual() == Residual.PARALLEL ? input : stream;
      x = add(x, mlp("model.layers." + (layer - 1), name + ".mlp", read));
    }
    if (exits.block()) {
      String block = name + ".block";
      x = add(x, attention(block, shape.numLayers() + head.index(), x));
      x = add(x, mlp(block, block + ".mlp", x));
    }
    logits[head.index()] =
        head(x, name + ".norm", exits.tieOutput() ? outputOfTrunk() : name + ".lm_head.weight");
  }

  private double[][] head(double[][] x, String norm, String output) {
    double[][] normed = parameters.containsKey(norm + ".weight") ? norm(norm, x) : x;
    double[][] logits = times(normed, output);
    for (double[] row : logits) {
      Arrays.setAll(row, i -> capped(shape.logitScale() * row[i], shape.logitSoftcap()));
    }
    return logits;
  }

  private static double capped(double score, double cap) {
    return cap == 0 ? score : cap * Math.tanh(score / cap);
  }

  private double[][] branch(String normAfter, double[][] out) {
    double[][] normed = shape.normPlacement().after() ? norm(normAfter, out) : out;
    for (double[] row : normed) {
      Arrays.setAll(row, i -> shape.residualScale() * row[i]);
    }
    return normed;
  }

  private double[][] mlp(String layer, String maps, double[][] x) {
    double[][] read =
        shape.normPlacement().before() ? norm(layer + ".post_attention_layernorm", x) : x;
    return branch(layer + ".mlp_output_norm", mlp(maps, read));
  }

  private double[][] experts(String layer, double[][] x) {
    double[][] read =
        shape.normPlacement().before() ? norm(layer + ".post_attention_layernorm", x) : x;
    double[][] scores = times(read, layer + ".mlp.gate.weight");
    double[][] sum = new double[x.length][x[0].length];
    for (int expert = 0; expert < shape.experts().count(); expert++) {
      double[][] out = mlp(layer + ".mlp.experts." + expert, read);
      for (int row = 0; row < x.length; row++) {
        double own = scores[row][expert];
        long better = Arrays.stream(scores[row]).filter(other -> other > own).count();
        if (better >= shape.experts().perToken()) {
          continue;
        }
        double[] all = Arrays.stream(scores[row]).sorted().toArray();
        int from = shape.experts().normWeights() ? all.length - shape.experts().perToken() : 0;
        double total = Arrays.stream(all, from, all.length).map(Math::exp).sum();
        for (int i = 0; i < out[row].length; i++) {
          sum[row][i] += Math.exp(own) / total * out[row][i];
        }
      }
    }
    return branch(layer + ".mlp_output_norm", sum);
  }

  private double[][] mlp(String maps, double[][] read) {
    double[][] up = linear(read, maps + ".up_proj");
    double[][] gate = shape.activation().gated() ? linear(read, maps + ".gate_proj") : up;
    double[][] active = new double[up.length][up[0].length];
    for (int row = 0; row < up.length; row++) {
      for (int i = 0; i < up[0].length; i++) {
        double z = gate[row][i];
        double function =
            switch (shape.activation()) {
              case SWIGLU -> z / (1 + Math.exp(-z));
              case GELU_TANH, GEGLU_TANH ->
                  z / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (z + 0.044715 * z * z * z)));
              case GELU -> throw new IllegalArgumentException("needs erf");
            };
        active[row][i] = shape.activation().gated() ? function * up[row][i] : function;
      }
    }
    return linear(active, maps + ".down_proj");
  }

  private double[][] attention(String layer, int index, double[][] x) {
    String name = layer + ".self_attn.";
    double[][] read = shape.normPlacement().before() ? norm(layer + ".input_layernorm", x) : x;
    double[][] query = heads(linear(read, name + "q_proj"), name + "q_norm", index);
    double[][] key = heads(linear(read, name + "k_proj"), name + "k_norm", index);
    double[][] value = linear(read, name + "v_proj");
    int width = shape.headDim();
    int group = shape.numHeads() / shape.numKeyValueHeads();
    boolean slides = shape.layerType(index) == LayerType.SLIDING;
    double scale = shape.attentionScale() == 0 ? 1 / Math.sqrt(width) : shape.attentionScale();
    double[][] out = new double[x.length][shape.numHeads() * width];
    for (int row = 0; row < x.length; row++) {
      int begin = slides ? Math.max(0, row - shape.slidingWindow() + 1) : 0;
      for (int head = 0; head < shape.numHeads(); head++) {
        int of = head / group * width;
        double[] weights = new double[row + 1];
        double total = 0;
        for (int position = begin; position <= row; position++) {
          double score = 0;
          for (int i = 0; i < width; i++) {
            score += query[row][head * width + i] * key[position][of + i];
          }
          weights[position] = Math.exp(capped(scale * score, shape.attentionSoftcap()));
          total += weights[position];
        }
        for (int position = begin; position <= row; position++) {
          for (int i = 0; i < width; i++) {
            out[row][head * width + i] += weights[position] / total * value[position][of + i];
          }
        }
      }
    }
    return branch(layer + ".attention_output_norm", linear(out, name + "o_proj"));
  }

  /** Heads normed and rotated. */
  private double[][] heads(double[][] x, String norm, int index) {
    int width = shape.headDim();
    int rotated = (int) (width * shape.rotaryFraction()) / 2; // pairs
    LayerType type = shape.layerType(index);
    double theta =
        type == LayerType.SLIDING && shape.slidingRopeTheta() > 0
            ? shape.slidingRopeTheta()
            : shape.ropeTheta();
    boolean rotates =
        shape.positionEmbedding() == PositionEmbedding.ROPE && type != LayerType.NO_POSITIONS;
    double[][] out = new double[x.length][];
    for (int row = 0; row < x.length; row++) {
      double[] all = x[row];
      if (shape.qkNormWhole()) {
        all = rms(all, get(norm + ".weight"));
      }
      out[row] = new double[all.length];
      for (int from = 0; from < all.length; from += width) {
        double[] head = Arrays.copyOfRange(all, from, from + width);
        if (shape.qkNorm()) {
          head = rms(head, get(norm + ".weight"));
        }
        double[] turned = head.clone();
        for (int j = 0; rotates && j < rotated; j++) {
          double angle = row * Math.pow(theta, -(double) j / rotated);
          double a = head[j];
          double b = head[width / 2 + j];
          turned[j] = a * Math.cos(angle) - b * Math.sin(angle);
          turned[width / 2 + j] = b * Math.cos(angle) + a * Math.sin(angle);
        }
        System.arraycopy(turned, 0, out[row], from, width);
      }
    }
    return out;
  }

  private double[][] norm(String name, double[][] x) {
    double[] weight = get(name + ".weight");
    double[][] out = new double[x.length][];
    for (int row = 0; row < x.length; row++) {
      out[row] =
          shape.normalization() == Normalization.RMSNORM
              ? rms(x[row], weight)
              : layer(x[row], weight, get(name + ".bias"));
    }
    return out;
  }

  private double[] rms(double[] x, double[] weight) {
    double mean = Arrays.stream(x).map(v -> v * v).average().orElseThrow();
    double factor = 1 / Math.sqrt(mean + shape.normEpsilon());
    double[] out = new double[x.length];
    Arrays.setAll(out, i -> x[i] * factor * (weight[i] + (shape.zeroCenteredNorm() ? 1 : 0)));
    return out;
  }

  private double[] layer(double[] x, double[] weight, double[] bias) {
    double mean = Arrays.stream(x).average().orElseThrow();
    double variance = Arrays.stream(x).map(v -> (v - mean) * (v - mean)).average().orElseThrow();
    double factor = 1 / Math.sqrt(variance + shape.normEpsilon());
    double[] out = new double[x.length];
    Arrays.setAll(out, i -> (x[i] - mean) * factor * weight[i] + bias[i]);
    return out;
  }

  private double[][] linear(double[][] x, String name) {
    double[][] out = times(x, name + ".weight");
    double[] bias = parameters.getOrDefault(name + ".bias", new double[out[0].length]);
    for (double[] row : out) {
      Arrays.setAll(row, i -> row[i] + bias[i]);
    }
    return out;
  }

  private double[][] times(double[][] x, String name) {
    double[] w = get(name);
    int in = x[0].length;
    double[][] out = new double[x.length][w.length / in];
    for (int row = 0; row < x.length; row++) {
      for (int o = 0; o < out[0].length; o++) {
        for (int i = 0; i < in; i++) {
          out[row][o] += x[row][i] * w[o * in + i];
        }
      }
    }
    return out;
  }

  private static double[][] add(double[][] x, double[][] y) {
    double[][] sum = new double[x.length][x[0].length];
    for (int row = 0; row < x.length; row++) {
      for (int i = 0; i < x[0].length; i++) {
        sum[row][i] = x[row][i] + y[row][i];
      }
    }
    return sum;
  }

  private double[] get(String name) {
    double[] found = parameters.get(name);
    if (found == null) {
      throw new IllegalArgumentException("no parameter " + name);
    }
    return found;
  }
}
