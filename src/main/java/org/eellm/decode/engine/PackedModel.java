package org.eellm.decode.engine;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.decode.engine.WeightPacker.Region;
import org.eellm.kernel.NativeBuffer;
import org.eellm.kernel.PackedMatrix;
import org.eellm.kernel.ThreadTeam;
import org.eellm.kernel.WeightFormat;
import org.eellm.model.AttentionBranch;
import org.eellm.model.Branch;
import org.eellm.model.Decoder;
import org.eellm.model.HeadLayers;
import org.eellm.model.MlpBranch;
import org.eellm.model.PackedForm;
import org.eellm.model.Weight;

/**
 * The branches and heads of a model, or of a rank's part of one, with packed weights.
 *
 * @param memory of the weights
 * @param own whether the memory is of this alone, and not of all runners of the model
 * @param bytes of all packed weights
 * @param longest the longest memory without gaps that holds some
 * @param trunk the branches here, in order
 * @param heads the heads here, in order of depth
 * @param draftHeads the same for the ids that exits draft from; none where that is all of them, or
 *     where ranks share the output matrices
 * @param draftMemory of the draft heads' matrices
 * @param tokens the embedding, where it is here
 * @param positions of learned positions
 */
record PackedModel(
    NativeBuffer memory,
    boolean own,
    long bytes,
    Region longest,
    List<KernelBranch> trunk,
    List<KernelHead> heads,
    List<KernelHead> draftHeads,
    List<NativeBuffer> draftMemory,
    Optional<EmbeddingTable> tokens,
    Optional<EmbeddingTable> positions)
    implements AutoCloseable {

  /** Packed weights that all runners of a model share, beside those packed in place. */
  private record Shared(NativeBuffer memory) implements PackedForm {
    @Override
    public void close() {
      memory.close();
    }
  }

  /** Where everything of a model goes, and what becomes of it there. */
  private record Plan(
      WeightPacker packer,
      List<Function<NativeBuffer, KernelBranch>> trunk,
      List<Function<NativeBuffer, KernelHead>> heads) {

    /**
     * A plan, the same for each runner of a model.
     *
     * @param overwritten the weights whose memory may be used
     */
    static Plan of(Decoder model, int vocabSize, Predicate<Weight> overwritten) {
      int ranks = model.parallel().size();
      ModelConfig shard = model.architecture().model().shard(ranks);
      WeightPacker packer = new WeightPacker(overwritten);
      return new Plan(
          packer,
          model.trunk().stream().map(branch -> plan(packer, branch, shard)).toList(),
          model.heads().stream().map(head -> plan(packer, head, shard, vocabSize, ranks)).toList());
    }
  }

  /** Packs a model's weights, unless it has {@link #exchange exchanged} them. */
  static PackedModel of(Decoder model, Vocabulary vocabulary, ThreadTeam team) {
    int vocabSize = vocabulary.size();
    Optional<NativeBuffer> shared = model.packed().map(form -> ((Shared) form).memory());
    Plan plan = Plan.of(model, vocabSize, shared.isPresent() ? givenUp(model) : weight -> false);
    NativeBuffer memory = shared.orElseGet(() -> plan.packer().pack(team));
    List<KernelHead> heads = plan.heads().stream().map(made -> made.apply(memory)).toList();
    List<KernelHead> draftHeads = new ArrayList<>();
    List<NativeBuffer> draftMemory = new ArrayList<>();
    if (model.parallel().size() == 1 && !vocabulary.drafts().isEmpty()) {
      Map<Long, PackedMatrix> chosen = new HashMap<>(); // heads may share a matrix
      for (KernelHead head : heads) {
        PackedMatrix rows =
            chosen.computeIfAbsent(
                head.output().address(), _ -> drafts(head.output(), vocabulary, draftMemory));
        int count = vocabulary.drafts().size();
        KernelLogits logits = new KernelLogits(head.logits().head(), count, rows.out(), 1);
        draftHeads.add(new KernelHead(head.branches(), head.norm(), rows, logits));
      }
    }
    return new PackedModel(
        memory,
        shared.isEmpty(),
        plan.packer().packedBytes(),
        plan.packer().longest(memory),
        plan.trunk().stream().map(made -> made.apply(memory)).toList(),
        heads,
        draftHeads,
        draftMemory,
        model.tokenEmbedding().map(weight -> EmbeddingTable.of(weight, model.parallel().rank())),
        model.positionEmbedding().map(weight -> EmbeddingTable.of(weight, 0)));
  }

  /** A head's outputs for the ids that exits draft from, in memory of their own. */
  private static PackedMatrix drafts(
      PackedMatrix output, Vocabulary vocabulary, List<NativeBuffer> memory) {
    int[] ids = vocabulary.drafts().stream().mapToInt(Integer::intValue).toArray();
    NativeBuffer own =
        NativeBuffer.allocate(PackedMatrix.bytes(output.format(), ids.length, output.in()));
    memory.add(own);
    return output.choose(ids, own.address());
  }

  /** Packs a model's weights for all runners to come, in the memory that they were loaded to. */
  static void exchange(Decoder model, ThreadTeam team) {
    int ids = model.architecture().model().vocabSize();
    model.exchange(new Shared(Plan.of(model, ids, givenUp(model)).packer().pack(team)));
  }

  /** The weights that are not needed as they were loaded: of embeddings, a token reads a row. */
  private static Predicate<Weight> givenUp(Decoder model) {
    Set<Long> embeddings =
        Stream.of(model.tokenEmbedding(), model.positionEmbedding())
            .flatMap(Optional::stream)
            .map(PackedModel::address)
            .collect(Collectors.toSet());
    return weight -> !embeddings.contains(address(weight));
  }

  private static long address(Weight weight) {
    return weight.value().data_ptr().address();
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

  private static Function<NativeBuffer, KernelHead> plan(
      WeightPacker packer, HeadLayers head, ModelConfig shard, int vocabSize, int ranks) {
    List<Function<NativeBuffer, KernelBranch>> branches =
        head.branches().stream().map(branch -> plan(packer, branch, shard)).toList();
    var output = packer.plan(head.output());
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
    draftMemory.forEach(NativeBuffer::close);
    if (own) {
      memory.close();
    }
  }
}
