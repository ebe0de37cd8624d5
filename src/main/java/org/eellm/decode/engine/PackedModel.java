package org.eellm.decode.engine;

import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.kernel.NativeBuffer;
import org.eellm.kernel.PackedMatrix;
import org.eellm.kernel.ThreadTeam;
import org.eellm.kernel.WeightFormat;
import org.eellm.model.AttentionBranch;
import org.eellm.model.Branch;
import org.eellm.model.Decoder;
import org.eellm.model.HeadLayers;
import org.eellm.model.MlpBranch;
import org.eellm.model.Weight;
import org.eellm.tensor.Tensors;

/**
 * The branches and heads of a model, or of a rank's part of one, with packed weights.
 *
 * @param memory of the weights
 * @param trunk the branches here, in order
 * @param heads the heads here, in order of depth
 * @param draftHeads the same for the ids that exits draft from; none where that is all of them, or
 *     where ranks share the output matrices
 * @param tokens the embedding, where it is here
 * @param positions of learned positions
 */
record PackedModel(
    NativeBuffer memory,
    List<KernelBranch> trunk,
    List<KernelHead> heads,
    List<KernelHead> draftHeads,
    Optional<EmbeddingTable> tokens,
    Optional<EmbeddingTable> positions)
    implements AutoCloseable {

  /** Packs a model's weights. */
  static PackedModel of(Decoder model, Vocabulary vocabulary, ThreadTeam team) {
    int ranks = model.parallel().size();
    ModelConfig shard = model.architecture().model().shard(ranks);
    WeightPacker packer = new WeightPacker();
    List<Function<NativeBuffer, KernelBranch>> trunk =
        model.trunk().stream().map(branch -> plan(packer, branch, shard)).toList();
    List<Function<NativeBuffer, KernelHead>> heads =
        model.heads().stream()
            .map(head -> plan(packer, head, head.output(), shard, vocabulary.size(), ranks))
            .toList();
    List<Function<NativeBuffer, KernelHead>> draftHeads = List.of();
    if (ranks == 1 && !vocabulary.drafts().isEmpty()) {
      int count = vocabulary.drafts().size();
      draftHeads =
          model.heads().stream()
              .map(
                  head ->
                      plan(packer, head, drafts(head.output(), vocabulary), shard, count, ranks))
              .toList();
    }
    NativeBuffer memory = packer.pack(team);
    return new PackedModel(
        memory,
        trunk.stream().map(made -> made.apply(memory)).toList(),
        heads.stream().map(made -> made.apply(memory)).toList(),
        draftHeads.stream().map(made -> made.apply(memory)).toList(),
        model.tokenEmbedding().map(weight -> EmbeddingTable.of(weight, model.parallel().rank())),
        model.positionEmbedding().map(weight -> EmbeddingTable.of(weight, 0)));
  }

  private static Function<NativeBuffer, KernelBranch> plan(
      WeightPacker packer, Branch branch, ModelConfig shard) {
    return switch (branch) {
      case AttentionBranch attention -> {
        var fused = packer.plan(attention.queryKeyValue().weight());
        var output = packer.plan(attention.output().weight());
        yield memory ->
            KernelBranch.Attention.of(attention, fused.in(memory), output.in(memory), shard);
      }
      case MlpBranch mlp -> {
        Weight weight = mlp.up().weight();
        var up =
            shard.activation() == Activation.SWIGLU
                ? packer.planHalves(weight)
                : packer.plan(weight);
        var down = packer.plan(mlp.down().weight());
        yield memory -> KernelBranch.Mlp.of(mlp, up.in(memory), down.in(memory));
      }
    };
  }

  /** An output matrix' rows for the ids that exits draft from. */
  private static Weight drafts(Weight output, Vocabulary vocabulary) {
    int[] ids = vocabulary.drafts().stream().mapToInt(Integer::intValue).toArray();
    Tensor rows = Tensors.ofInts(ids, output.value().device(), ids.length);
    return new Weight(
        output.name() + " of drafts",
        output.index(),
        output.split(),
        false,
        output.offset(),
        output.value().index_select(0, rows),
        output.scales().map(scales -> scales.index_select(0, rows)));
  }

  private static Function<NativeBuffer, KernelHead> plan(
      WeightPacker packer,
      HeadLayers head,
      Weight matrix,
      ModelConfig shard,
      int vocabSize,
      int ranks) {
    List<Function<NativeBuffer, KernelBranch>> branches =
        head.branches().stream().map(branch -> plan(packer, branch, shard)).toList();
    var output = packer.plan(matrix);
    RowNorm norm = head.norm().map(RowNorm::of).orElse(new RowNorm.None(shard.hiddenSize()));
    return memory -> {
      PackedMatrix whole = output.in(memory);
      return new KernelHead(
          branches.stream().map(made -> made.apply(memory)).toList(),
          norm,
          ranks == 1 ? whole.first(vocabSize) : whole,
          new KernelLogits(head.head(), vocabSize, whole.out(), ranks));
    };
  }

  /** The format of all matrices. */
  WeightFormat format() {
    return Stream.concat(trunk.stream(), heads.stream().flatMap(head -> head.branches().stream()))
        .map(KernelBranch::format)
        .findFirst()
        .orElseGet(() -> heads.getFirst().output().format());
  }

  @Override
  public void close() {
    heads.forEach(head -> head.logits().close());
    draftHeads.forEach(head -> head.logits().close());
    memory.close();
  }
}
