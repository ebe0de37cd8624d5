package org.eellm.convert;

import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigException;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.RopeScaling;
import org.eellm.convert.Pickled.Bool;
import org.eellm.convert.Pickled.Dict;
import org.eellm.convert.Pickled.Int;
import org.eellm.convert.Pickled.Items;
import org.eellm.convert.Pickled.None;
import org.eellm.convert.Pickled.Real;
import org.eellm.convert.Pickled.Text;

/**
 * The arguments of a Megatron or EE-LLM training, which its checkpoints carry.
 *
 * @param place file, for messages
 * @param arguments by name
 */
record MegatronArguments(String place, Dict arguments) {

  /**
   * The model's shape.
   *
   * @param dtype of the stored weights
   * @throws CheckpointException if an argument cannot be honoured; the message names it
   */
  HuggingFaceConfig config(DataType dtype) {
    refuse("apply_layernorm_1p");
    refuse("apply_residual_connection_post_layernorm");
    refuse("squared_relu");
    refuse("onnx_safe");
    refuse("num_experts");
    refuse("virtual_pipeline_model_parallel_size");
    try {
      return new HuggingFaceConfig(
          new Architecture(model(dtype), exits()), OptionalInt.empty(), List.of());
    } catch (ConfigException failure) {
      throw new CheckpointException(place + ": " + failure.getMessage(), failure);
    }
  }

  private ModelConfig model(DataType dtype) {
    int numHeads = number("num_attention_heads");
    boolean grouped = flag("group_query_attention", false);
    boolean rope =
        text("position_embedding_type", "learned_absolute").equals("rope")
            || flag("use_rotary_position_embeddings", false);
    double interpolation = real("rotary_seq_len_interpolation_factor", 1);
    return ModelConfig.builder()
        .vocabSize(number("padded_vocab_size"))
        .hiddenSize(number("hidden_size"))
        .numLayers(number("num_layers"))
        .numHeads(numHeads)
        .numKeyValueHeads(grouped ? number("num_query_groups") : numHeads)
        .headDim(optionalNumber("kv_channels").orElse(0))
        .ffnHiddenSize(number("ffn_hidden_size"))
        .maxPositions(number("max_position_embeddings"))
        .normalization(normalization())
        .normEpsilon(real("norm_epsilon", real("layernorm_epsilon", 1e-5)))
        .positionEmbedding(rope ? PositionEmbedding.ROPE : PositionEmbedding.LEARNED)
        .ropeTheta(real("rotary_base", 10_000))
        .ropeScaling(
            interpolation == 1 ? new RopeScaling.None() : new RopeScaling.Linear(interpolation))
        .rotaryFraction(rope ? real("rotary_percent", 1) : 1)
        .activation(activation())
        .linearBias(flag("add_bias_linear", true))
        .tieEmbeddings(!flag("untie_embeddings_and_output_weights", false))
        .attentionDropout(real("attention_dropout", 0.1))
        .initStd(real("init_method_std", 0.02))
        .dtype(dtype)
        .build();
  }

  private Normalization normalization() {
    String name = text("normalization", "LayerNorm");
    return switch (name) {
      case "LayerNorm" -> Normalization.LAYERNORM;
      case "RMSNorm" -> Normalization.RMSNORM;
      default -> throw unsupported("normalization", name, "LayerNorm and RMSNorm are");
    };
  }

  /** Where bias and GELU are fused, Megatron computes the approximation by tanh. */
  private Activation activation() {
    if (flag("swiglu", false)) {
      return Activation.SWIGLU;
    }
    boolean fused = flag("bias_gelu_fusion", true) && flag("add_bias_linear", true);
    return fused || flag("openai_gelu", false) ? Activation.GELU_TANH : Activation.GELU;
  }

  /** The exits; one that reads the input of layer n is ours after layer n - 1. */
  private ExitLayout exits() {
    List<Integer> layers = exitLayers();
    if (layers.isEmpty()) {
      return ExitLayout.none();
    }
    int shift = preExit() ? 1 : 0;
    if (layers.getFirst() - shift < 1) {
      throw unsupported(
          "exit_layer_nums",
          layers + " with pre_exit",
          "an exit before layer 1 reads the embedding; 2 and above are");
    }
    return new ExitLayout(
        layers.stream().map(layer -> layer - shift).toList(),
        flag("use_exit_norm", false),
        flag("use_exit_mlp", false),
        flag("use_exit_block", false),
        exitsShareEmbedding() && !flag("untie_embeddings_and_output_weights", false));
  }

  boolean exitsShareEmbedding() {
    return !flag("untie_exit_output_weights", false);
  }

  /** The exits' layers as the training named them, ascending. */
  List<Integer> exitLayers() {
    Optional<Pickled> layers = arguments.find("exit_layer_nums");
    if (layers.isEmpty() || layers.get() instanceof None) {
      return List.of();
    }
    if (layers.get() instanceof Items(List<Pickled> values)) {
      return values.stream().map(value -> whole("exit_layer_nums", value)).sorted().toList();
    }
    throw malformed("exit_layer_nums");
  }

  boolean preExit() {
    return flag("pre_exit", false);
  }

  int tensorParallel() {
    return optionalNumber("tensor_model_parallel_size").orElse(1);
  }

  int pipelineParallel() {
    return optionalNumber("pipeline_model_parallel_size").orElse(1);
  }

  /** Refuses arguments that are set. */
  private void refuse(String... names) {
    for (String name : names) {
      boolean set =
          switch (arguments.find(name).orElse(new None())) {
            case None _ -> false;
            case Bool(boolean value) -> value;
            case Int(long value) -> value != 0;
            default -> true;
          };
      if (set) {
        throw new CheckpointException(
            "%s: the model was trained with %s, which is not supported".formatted(place, name));
      }
    }
  }

  private int number(String name) {
    return optionalNumber(name)
        .orElseThrow(
            () ->
                new CheckpointException(
                    "%s: args lack %s; no checkpoint of Megatron's GPT".formatted(place, name)));
  }

  private Optional<Integer> optionalNumber(String name) {
    return arguments
        .find(name)
        .filter(value -> !(value instanceof None))
        .map(value -> whole(name, value));
  }

  private int whole(String name, Pickled value) {
    if (value instanceof Int(long number) && number >= 1 && number <= Integer.MAX_VALUE) {
      return (int) number;
    }
    throw malformed(name);
  }

  private double real(String name, double otherwise) {
    return switch (arguments.find(name).orElse(new None())) {
      case None _ -> otherwise;
      case Real(double value) -> value;
      case Int(long value) -> value;
      default -> throw malformed(name);
    };
  }

  private boolean flag(String name, boolean otherwise) {
    return switch (arguments.find(name).orElse(new None())) {
      case None _ -> otherwise;
      case Bool(boolean value) -> value;
      default -> throw malformed(name);
    };
  }

  private String text(String name, String otherwise) {
    return switch (arguments.find(name).orElse(new None())) {
      case None _ -> otherwise;
      case Text(String value) -> value;
      default -> throw malformed(name);
    };
  }

  private CheckpointException malformed(String name) {
    return new CheckpointException("%s: args.%s is malformed".formatted(place, name));
  }

  private CheckpointException unsupported(String name, Object value, String remedy) {
    return new CheckpointException(
        "%s: %s %s is not supported; %s".formatted(place, name, value, remedy));
  }
}
