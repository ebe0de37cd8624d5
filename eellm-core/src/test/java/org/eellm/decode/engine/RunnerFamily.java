package org.eellm.decode.engine;

import java.util.List;
import java.util.Random;
import org.eellm.config.Architecture;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.Experts;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.LayerType;
import org.eellm.config.ModelConfig.NormPlacement;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.ModelConfig.Residual;
import org.eellm.config.ModelConfigBuilder;
import org.eellm.model.Decoder;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/** Shapes that differ in everything a kernel has to know. */
enum RunnerFamily {
  LLAMA,
  LLAMA_ODD_WIDTHS,
  QWEN_2,
  QWEN_3,
  GPT_2,
  NEO_X,
  BLOCKS,
  BRANCH_MLPS,
  GEMMA,
  GRANITE,
  OLMO,
  SMOL_LM_3,
  MISTRAL,
  QWEN_3_MOE,
  OLMOE;

  Architecture architecture(DataType type) {
    boolean gpt = this == GPT_2 || this == NEO_X;
    int headDim = this == LLAMA_ODD_WIDTHS ? 10 : 16;
    int heads = this == LLAMA_ODD_WIDTHS ? 6 : 4;
    int keyValueHeads = gpt ? heads : 2;
    ModelConfigBuilder model =
        ModelConfig.builder()
            .vocabSize(RunnerText.VOCABULARY)
            .hiddenSize(this == LLAMA_ODD_WIDTHS ? 54 : 64)
            .numLayers(4)
            .numHeads(heads)
            .numKeyValueHeads(keyValueHeads)
            .headDim(headDim)
            .ffnHiddenSize(this == LLAMA_ODD_WIDTHS ? 75 : 96)
            .maxPositions(160)
            .normalization(gpt ? Normalization.LAYERNORM : Normalization.RMSNORM)
            .residual(this == NEO_X ? Residual.PARALLEL : Residual.SEQUENTIAL)
            .positionEmbedding(this == GPT_2 ? PositionEmbedding.LEARNED : PositionEmbedding.ROPE)
            .rotaryFraction(this == NEO_X ? 0.25 : 1)
            .activation(
                this == GPT_2
                    ? Activation.GELU_TANH
                    : this == NEO_X ? Activation.GELU : Activation.SWIGLU)
            .linearBias(gpt)
            .qkvBias(this == QWEN_2)
            .qkNorm(this == QWEN_3 || this == QWEN_3_MOE)
            .tieEmbeddings(this == GPT_2)
            .initStd(0.15)
            .dtype(type);
    change(model);
    boolean mlp = this == BRANCH_MLPS || this == NEO_X || this == GEMMA || this == OLMOE;
    boolean block = this == BLOCKS || this == OLMO;
    return new Architecture(
        model.build(), new ExitLayout(List.of(1, 3), this != QWEN_2, mlp, block, false));
  }

  /** What is beyond a plain Llama in families that are made of it. */
  private void change(ModelConfigBuilder model) {
    switch (this) {
      case GEMMA ->
          model
              .normPlacement(NormPlacement.AROUND)
              .zeroCenteredNorm(true)
              .layerTypes(List.of(LayerType.SLIDING, LayerType.SLIDING, LayerType.FULL))
              .slidingWindow(9)
              .ropeTheta(1e6)
              .slidingRopeTheta(1e4)
              .qkNorm(true)
              .activation(Activation.GEGLU_TANH)
              .attentionScale(0.3)
              .attentionSoftcap(5)
              .logitSoftcap(3)
              .embeddingScale(8)
              .tieEmbeddings(true);
      case GRANITE ->
          model
              .attentionScale(0.1)
              .embeddingScale(12)
              .residualScale(0.22)
              .logitScale(0.125)
              .attentionBias(true);
      case OLMO ->
          model
              .normPlacement(NormPlacement.AFTER)
              .qkNormWhole(true)
              .residualScale(0.8)
              .layerTypes(List.of(LayerType.FULL, LayerType.SLIDING))
              .slidingWindow(20);
      case SMOL_LM_3 -> model.layerTypes(List.of(LayerType.FULL, LayerType.NO_POSITIONS));
      case MISTRAL -> model.layerTypes(List.of(LayerType.SLIDING)).slidingWindow(17);
      case QWEN_3_MOE -> model.experts(new Experts(7, 2, 40, true, List.of(3)));
      case OLMOE -> model.qkNormWhole(true).experts(new Experts(5, 3, 75, false, List.of()));
      default -> {}
    }
  }

  Decoder decoder(DataType type) {
    Decoder decoder = Decoder.allocate(architecture(type), Torch.cpu());
    decoder.initialize(ordinal() + 1);
    Random random = new Random(ordinal());
    for (var parameter : decoder.parameters().all()) {
      if (parameter.shape().length == 1) { // norms and biases, which begin as ones and zeros
        float[] values = Tensors.toFloats(parameter.value());
        for (int i = 0; i < values.length; i++) {
          values[i] += random.nextInt(-16, 17) / 64f; // in bfloat16, too
        }
        try (Scope _ = Scope.open()) {
          parameter.value().copy_(Tensors.ofFloats(values, Torch.cpu(), values.length));
        }
      }
    }
    return decoder;
  }
}
