package org.eellm.decode;

import java.util.List;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.GeneratorOptional;
import org.bytedeco.pytorch.global.torch;
import org.eellm.config.Architecture;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.Experts;
import org.eellm.config.Learning;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.LayerType;
import org.eellm.config.ModelConfig.NormPlacement;
import org.eellm.config.ModelConfigBuilder;
import org.eellm.config.Quantization;
import org.eellm.model.Decoder;
import org.eellm.model.DecoderShard;
import org.eellm.tensor.Torch;

/** Random models of five layers, exits after layers 1, 2 and 4, 264 ids and 96 positions. */
public final class SmallModel {
  public static final int VOCABULARY = 264;
  public static final int CONTEXT = 96;

  private SmallModel() {}

  public static Decoder plain() {
    return of(new ExitLayout(List.of(1, 2, 4), true, false, false, false), DataType.FLOAT32);
  }

  /** With heads that have branch MLPs and blocks. */
  public static Decoder withBlocks() {
    return of(new ExitLayout(List.of(1, 2, 4), true, true, true, false), DataType.FLOAT32);
  }

  public static Decoder of(ExitLayout exits, DataType type) {
    return of(exits, type, CONTEXT);
  }

  public static Decoder withContext(ExitLayout exits, int context) {
    return of(exits, DataType.FLOAT32, context);
  }

  /** All of whose layers see the last {@code window} positions alone. */
  public static Decoder sliding(int window, int context) {
    return changed(
        context, model -> model.layerTypes(List.of(LayerType.SLIDING)).slidingWindow(window));
  }

  /** With what OLMo 2 and Gemma do to norms, scores and logits. */
  public static Decoder withNormsAfter() {
    return changed(
        CONTEXT,
        model ->
            model
                .normPlacement(NormPlacement.AFTER)
                .qkNormWhole(true)
                .layerTypes(List.of(LayerType.SLIDING, LayerType.NO_POSITIONS))
                .slidingWindow(12)
                .attentionSoftcap(2)
                .logitSoftcap(4)
                .embeddingScale(5)
                .residualScale(0.5)
                .logitScale(0.5));
  }

  /** With experts in all layers but the second. */
  public static Decoder withExperts() {
    return changed(
        CONTEXT, model -> model.experts(new Experts(6, 2, 48, true, List.of(2))).qkNorm(true));
  }

  private static Decoder changed(int context, UnaryOperator<ModelConfigBuilder> change) {
    ExitLayout exits = new ExitLayout(List.of(1, 2, 4), true, false, false, false);
    ModelConfig plain = architecture(exits, DataType.FLOAT32, context, 32, 0.3).model();
    return initialized(new Architecture(change.apply(plain.toBuilder()).build(), exits));
  }

  /** With heads of width 64, which the kernels for bfloat16 take. */
  public static Decoder withWideHeads(DataType type) {
    return of(
        new ExitLayout(List.of(1, 2, 4), true, false, false, false), type, CONTEXT, 256, 0.08);
  }

  /** The same, with a draft head. */
  public static Decoder withDraftHead(DataType type) {
    ExitLayout exits = new ExitLayout(List.of(1, 2, 4), true, false, false, false);
    Architecture architecture = architecture(exits, type, CONTEXT, 256, 0.08);
    Decoder decoder =
        Decoder.allocate(
            architecture,
            Learning.DRAFT_HEAD,
            Quantization.NONE,
            DecoderShard.whole(architecture),
            Torch.cpu());
    decoder.initialize(7);
    decoder.parameters().trainable().stream()
        .filter(parameter -> parameter.wholeShape().length == 1) // norms tell themselves apart
        .forEach(
            parameter ->
                parameter
                    .value()
                    .uniform_(
                        0.5,
                        1.5,
                        new GeneratorOptional(
                            torch.make_generator_cpu(parameter.name().hashCode()))));
    return decoder;
  }

  /** The same, with experts. */
  public static Decoder withWideExperts(DataType type) {
    ExitLayout exits = new ExitLayout(List.of(1, 2, 4), true, false, false, false);
    ModelConfig plain = architecture(exits, type, CONTEXT, 256, 0.08).model();
    Experts experts = new Experts(8, 3, 64, false, List.of());
    return initialized(new Architecture(plain.toBuilder().experts(experts).build(), exits));
  }

  /** The same, where all heads and the embedding share a matrix. */
  public static Decoder tied(DataType type) {
    return of(new ExitLayout(List.of(1, 2, 4), true, false, false, true), type, CONTEXT, 256, 0.08);
  }

  private static Decoder of(ExitLayout exits, DataType type, int context) {
    return of(exits, type, context, 32, 0.3);
  }

  private static Decoder of(
      ExitLayout exits, DataType type, int context, int hidden, double deviation) {
    return initialized(architecture(exits, type, context, hidden, deviation));
  }

  private static Architecture architecture(
      ExitLayout exits, DataType type, int context, int hidden, double deviation) {
    ModelConfig model =
        ModelConfig.builder()
            .vocabSize(VOCABULARY)
            .hiddenSize(hidden)
            .numLayers(5)
            .numHeads(4)
            .numKeyValueHeads(2)
            .ffnHiddenSize(48)
            .maxPositions(context)
            .initStd(deviation)
            .tieEmbeddings(exits.tieOutput())
            .dtype(type)
            .build();
    return new Architecture(model, exits);
  }

  private static Decoder initialized(Architecture architecture) {
    Decoder decoder = Decoder.allocate(architecture, Torch.cpu());
    decoder.initialize(7);
    return decoder;
  }
}
