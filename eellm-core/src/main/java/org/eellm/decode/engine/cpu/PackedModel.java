package org.eellm.decode.engine.cpu;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.eellm.config.ExitLayout;
import org.eellm.config.HeadId;
import org.eellm.config.ModelConfig;
import org.eellm.config.StageLayout.Slice;
import org.eellm.decode.head.Vocabulary;
import org.eellm.kernel.machine.ThreadTeam;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.weight.PackedMatrix;
import org.eellm.model.DecodingModel;
import org.eellm.model.Head;
import org.eellm.model.StoredDecoder;
import org.eellm.model.parameter.ParameterName;

/**
 * The branches and heads of a model, or of a rank's part of one, for a runner.
 *
 * @param weights of all runners of a stored model, or of this one alone
 * @param own whether they are of this one alone
 * @param trunk the branches here, in order
 * @param heads the heads here, in order of depth, and the draft head's norm and output matrix
 * @param draftLayer the branches of the draft head, if there is one
 * @param draftHeads the same for the ids that exits draft from; none where that is all of them, or
 *     where ranks share the output matrices
 * @param draftMemory of the draft heads' matrices
 */
record PackedModel(
    PackedWeights weights,
    boolean own,
    List<KernelBranch> trunk,
    List<KernelHead> heads,
    List<KernelBranch> draftLayer,
    List<KernelHead> draftHeads,
    List<NativeBuffer> draftMemory)
    implements AutoCloseable {

  /** Makes branches and heads of a model's weights, which are packed unless they have been. */
  static PackedModel of(DecodingModel model, Vocabulary vocabulary, ThreadTeam team) {
    Optional<PackedWeights> shared =
        model instanceof StoredDecoder stored
            ? stored.packed().map(PackedWeights.class::cast)
            : Optional.empty();
    PackedWeights weights = shared.orElseGet(() -> PackedWeights.of(model, team));
    List<NativeBuffer> draftMemory = new ArrayList<>();
    try {
      return of(model, vocabulary, weights, shared.isEmpty(), draftMemory);
    } catch (RuntimeException | Error failure) {
      draftMemory.forEach(NativeBuffer::close);
      if (shared.isEmpty()) {
        weights.close();
      }
      throw failure;
    }
  }

  private static PackedModel of(
      DecodingModel model,
      Vocabulary vocabulary,
      PackedWeights weights,
      boolean own,
      List<NativeBuffer> draftMemory) {
    Assembly assembly = new Assembly(model, weights);
    List<KernelHead> heads =
        Stream.concat(model.headsHere().stream(), model.draftHead().stream())
            .map(head -> assembly.head(head, vocabulary.size()))
            .toList();
    List<KernelHead> draftHeads = new ArrayList<>();
    if (model.parallel().size() == 1 && !vocabulary.draftIds().isEmpty()) {
      Map<Long, PackedMatrix> chosen = new HashMap<>(); // heads may share a matrix
      for (KernelHead head : heads) {
        PackedMatrix rows =
            chosen.computeIfAbsent(
                head.output().address(), _ -> drafts(head.output(), vocabulary, draftMemory));
        int count = vocabulary.draftIds().size();
        KernelLogits logits =
            head.logits().ofShortList(count, rows.out(), model.architecture().model().hiddenSize());
        draftHeads.add(new KernelHead(head.branches(), head.norm(), rows, head.rows(), logits));
      }
    }
    return new PackedModel(
        weights,
        own,
        assembly.trunk(),
        heads,
        model.draftHead().map(assembly::draftLayer).orElse(List.of()),
        draftHeads,
        draftMemory);
  }

  /** The slots of all attentions, those of heads among them. */
  List<Integer> attentions() {
    return Stream.of(
            trunk.stream(),
            heads.stream().flatMap(head -> head.branches().stream()),
            draftLayer.stream())
        .flatMap(branches -> branches)
        .filter(KernelBranch.Attention.class::isInstance)
        .map(branch -> ((KernelBranch.Attention) branch).slot())
        .toList();
  }

  /** A head's outputs for the ids that exits draft from, in memory of their own. */
  private static PackedMatrix drafts(
      PackedMatrix output, Vocabulary vocabulary, List<NativeBuffer> memory) {
    int[] ids = vocabulary.draftIds().stream().mapToInt(Integer::intValue).toArray();
    NativeBuffer own =
        NativeBuffer.allocate(PackedMatrix.bytes(output.format(), ids.length, output.in()));
    memory.add(own);
    return output.choose(ids, own.address());
  }

  /** Puts branches and heads together from weights, by the names of their parameters. */
  private record Assembly(DecodingModel model, PackedWeights weights) {
    private ModelConfig shape() {
      return model.architecture().model();
    }

    List<KernelBranch> trunk() {
      List<KernelBranch> branches = new ArrayList<>();
      for (Slice slice : model.slices()) {
        for (int layer = slice.firstLayer(); layer < slice.endLayer(); layer++) {
          branches.addAll(layer(ParameterName.layer(layer), layer));
        }
      }
      return branches;
    }

    private List<KernelBranch> layer(String name, int slot) {
      return List.of(
          attention(name, slot),
          shape().hasExperts(slot) ? experts(name) : mlp(name, name + ".mlp"));
    }

    private KernelBranch attention(String layer, int slot) {
      String name = layer + ".self_attn.";
      return new KernelBranch.Attention(
          normBefore(layer + ".input_layernorm"),
          weights.matrix(name + "q_proj.weight"),
          weights.optionalVector(name + "q_proj.bias"),
          headNorms(name),
          weights.matrix(name + "o_proj.weight"),
          residual(name + "o_proj.bias", layer + ".attention_output_norm"),
          shape().attention(slot).shard(model.parallel().size()),
          shape().layerType(slot),
          shape().residual(),
          slot);
    }

    private Optional<KernelHeadNorms> headNorms(String attention) {
      return shape().qkNorm() || shape().qkNormWhole()
          ? Optional.of(
              new KernelHeadNorms(
                  headNorm(attention + "q_norm.weight"),
                  headNorm(attention + "k_norm.weight"),
                  shape().qkNormWhole()))
          : Optional.empty();
    }

    private KernelNorm.Rms headNorm(String weight) {
      return new KernelNorm.Rms(normWeight(weights.vector(weight), 1), shape().normEpsilon());
    }

    /**
     * @param layer whose norms it has
     * @param name of its maps
     */
    private KernelBranch mlp(String layer, String name) {
      boolean gated = shape().activation().gated();
      String first = name + (gated ? ".gate_proj." : ".up_proj.");
      PackedMatrix up = weights.matrix(first + "weight");
      Optional<FloatArray> bias =
          weights.optionalVector(first + "bias"); // of gate and up, or up alone
      PackedMatrix down = weights.matrix(name + ".down_proj.weight");
      int ffn = down.in();
      return new KernelBranch.Mlp(
          normBefore(layer + ".post_attention_layernorm"),
          up,
          gated ? bias.map(all -> part(all, 0, ffn)) : Optional.empty(),
          gated ? bias.map(all -> part(all, ffn, 2 * ffn)) : bias,
          down,
          residual(name + ".down_proj.bias", layer + ".mlp_output_norm"),
          shape().activation(),
          shape().residual());
    }

    private KernelBranch experts(String layer) {
      String name = layer + ".mlp";
      List<KernelExperts.Expert> all = new ArrayList<>();
      for (int i = 0; i < shape().experts().count(); i++) {
        String expert = ParameterName.expert(name, i);
        all.add(
            new KernelExperts.Expert(
                weights.matrix(expert + ".gate_proj.weight"),
                weights.matrix(expert + ".down_proj.weight")));
      }
      return new KernelExperts(
          normBefore(layer + ".post_attention_layernorm"),
          weights.matrix(ParameterName.router(name)),
          all,
          residual(name, layer + ".mlp_output_norm"), // without a bias
          shape().experts().perToken(),
          shape().activation(),
          shape().residual());
    }

    private static FloatArray part(FloatArray all, int from, int to) {
      return FloatArray.of(Arrays.copyOfRange(all.values(), from, to));
    }

    private KernelNorm normBefore(String name) {
      return shape().normPlacement().before()
          ? norm(name, 1)
          : new KernelNorm.None(shape().hiddenSize());
    }

    /**
     * How a branch is added to the stream. Its factor stands in what it is multiplied with anyway,
     * where there is such.
     */
    private KernelExecutor.Residual residual(String bias, String normAfter) {
      float factor = (float) shape().residualScale();
      Optional<FloatArray> vector = weights.optionalVector(bias);
      return shape().normPlacement().after()
          ? new KernelExecutor.Residual(vector, 1, Optional.of(norm(normAfter, factor)))
          : new KernelExecutor.Residual(
              vector.map(values -> changed(values, 0, factor)), factor, Optional.empty());
    }

    private KernelNorm norm(String name, float factor) {
      FloatArray weight = normWeight(weights.vector(name + ".weight"), factor);
      return switch (shape().normalization()) {
        case RMSNORM -> new KernelNorm.Rms(weight, shape().normEpsilon());
        case LAYERNORM ->
            new KernelNorm.Layer(
                weight, changed(weights.vector(name + ".bias"), 0, factor), shape().normEpsilon());
      };
    }

    private FloatArray normWeight(FloatArray weight, float factor) {
      return changed(weight, shape().zeroCenteredNorm() ? 1 : 0, factor);
    }

    private static FloatArray changed(FloatArray numbers, float more, float factor) {
      if (more == 0 && factor == 1) {
        return numbers;
      }
      FloatArray changed = FloatArray.allocate(numbers.length());
      for (int i = 0; i < numbers.length(); i++) {
        changed.values()[i] = (numbers.values()[i] + more) * factor;
      }
      return changed;
    }

    List<KernelBranch> draftLayer(Head head) {
      String name = ParameterName.DRAFT_HEAD;
      List<KernelBranch> branches = new ArrayList<>();
      branches.add(
          new KernelBranch.DraftInput(
              norm(name + "hidden_norm", 1),
              norm(name + "embedding_norm", 1),
              weights.matrix(name + "projection.weight")));
      branches.addAll(layer(name + "layer", shape().numLayers() + head.index()));
      return List.copyOf(branches);
    }

    KernelHead head(Head head, int vocabSize) {
      ExitLayout exits = model.architecture().exits();
      boolean own = head.isExit() && !model.logitLens();
      String name = "exits." + head.layer();
      List<KernelBranch> branches = new ArrayList<>();
      if (own && exits.mlp()) {
        branches.add(mlp(ParameterName.layer(head.layer() - 1), name + ".mlp"));
      }
      if (own && exits.block()) {
        branches.addAll(layer(name + ".block", shape().numLayers() + head.index()));
      }
      int ranks = model.parallel().size();
      String output =
          own && !exits.tieOutput() ? name + ".lm_head.weight" : PackedWeights.outputMatrix(model);
      PackedMatrix whole = weights.matrix(output);
      KernelNorm norm =
          own
              ? exits.norm() ? norm(name + ".norm", 1) : new KernelNorm.None(shape().hiddenSize())
              : norm(
                  head.id().equals(HeadId.DRAFT_HEAD)
                      ? ParameterName.DRAFT_HEAD + "norm"
                      : "model.norm",
                  1);
      return new KernelHead(
          List.copyOf(branches),
          norm,
          ranks == 1 ? whole.first(vocabSize) : whole,
          weights.rows(output),
          new KernelLogits(head, LogitScale.of(shape()), vocabSize, whole.out(), ranks));
    }
  }

  @Override
  public void close() {
    heads.forEach(head -> head.logits().close());
    draftHeads.forEach(head -> head.logits().close());
    draftMemory.forEach(NativeBuffer::close);
    if (own) {
      weights.close();
    }
  }
}
