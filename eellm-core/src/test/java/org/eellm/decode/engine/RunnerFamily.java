package org.eellm.decode.engine;

import java.util.List;
import org.eellm.config.Architecture;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.ModelConfig.Residual;
import org.eellm.model.Decoder;
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
  BRANCH_MLPS;

  Architecture architecture(DataType type) {
    boolean gpt = this == GPT_2 || this == NEO_X;
    int headDim = this == LLAMA_ODD_WIDTHS ? 10 : 16;
    int heads = this == LLAMA_ODD_WIDTHS ? 6 : 4;
    int keyValueHeads = gpt ? heads : 2;
    ModelConfig model =
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
            .qkNorm(this == QWEN_3)
            .tieEmbeddings(this == GPT_2)
            .initStd(0.15)
            .dtype(type)
            .build();
    boolean mlp = this == BRANCH_MLPS || this == NEO_X;
    return new Architecture(
        model, new ExitLayout(List.of(1, 3), this != QWEN_2, mlp, this == BLOCKS, false));
  }

  Decoder decoder(DataType type) {
    Decoder decoder = Decoder.allocate(architecture(type), Torch.cpu());
    decoder.initialize(ordinal() + 1);
    return decoder;
  }
}
