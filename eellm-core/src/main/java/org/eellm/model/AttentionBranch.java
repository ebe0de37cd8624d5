package org.eellm.model;

import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.eellm.config.Learning;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.LayerType;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.Parameters;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * Causal grouped-query attention. Query head j reads key/value head {@code j / (heads /
 * keyValueHeads)}; the queries of a group are stacked along the sequence, so that keys and values
 * are never repeated.
 *
 * <p>Shapes: b sequences, s tokens, K key/value heads, G query heads a group, D head dimension.
 * With tensor parallelism the heads are this rank's.
 *
 * @param headNorms on queries and keys; absent where the model has none
 * @param attention with this rank's numbers of heads
 * @param type says how heads are rotated
 * @param attentionIndex which attention, see {@link KeyValueCache#attend}
 */
public record AttentionBranch(
    Norm norm,
    Linear queryKeyValue,
    Optional<HeadNorms> headNorms,
    Linear output,
    ModelConfig.Attention attention,
    LayerType type,
    BranchEnd end,
    ResidualPath path,
    int attentionIndex)
    implements Branch {

  /**
   * @param x input, [b s, h]
   * @param normed [b s, h]
   * @param fused queries, keys and values before their norms, [b, s, K G + 2 K, D]; absent without
   *     norms
   * @param query rotated and scaled, [b, K, G, s, D]
   * @param key rotated, [b K, s, D]
   * @param value [b K, s, D]
   * @param probabilities by blocks of queries; absent with selective recompute
   * @param attentionOutput the heads' outputs, [b s, K G D]
   * @param end what the end of the branch keeps
   */
  record Saved(
      Tensor x,
      Tensor normed,
      Optional<Tensor> fused,
      Tensor query,
      Tensor key,
      Tensor value,
      Optional<List<Tensor>> probabilities,
      Tensor attentionOutput,
      BranchEnd.Saved end)
      implements Tape {}

  static AttentionBranch of(
      ModelConfig model,
      Learning learning,
      Parameters parameters,
      String layer,
      int attentionIndex) {
    ModelConfig.Attention attention =
        model.attention(attentionIndex).shard(parameters.tensorParallel().size());
    return new AttentionBranch(
        Norm.of(
            model.normPlacement().before(), model.norms(), parameters, layer + ".input_layernorm"),
        Linear.column(
            parameters,
            learning,
            Stream.of("q", "k", "v")
                .map(of -> layer + ".self_attn." + of + "_proj.weight")
                .toList(),
            Dropout.siteOfChange(4L * attentionIndex)),
        HeadNorms.of(model, attention, parameters, layer + ".self_attn"),
        Linear.row(
            parameters,
            learning,
            layer + ".self_attn.o_proj.weight",
            Dropout.siteOfChange(4L * attentionIndex + 1)),
        attention,
        model.layerType(attentionIndex),
        BranchEnd.of(model, parameters, layer + ".attention_output_norm", 4L * attentionIndex + 2),
        ResidualPath.ofAttention(model),
        attentionIndex);
  }

  private long keyValueHeads() {
    return attention.keyValueHeads();
  }

  private long group() {
    return attention.heads() / attention.keyValueHeads();
  }

  @Override
  public Output forward(Tensor stream, ForwardContext context, RetainedTensors retained) {
    try (Scope scope = Scope.open()) {
      Tensor x = path.input(stream);
      long b = context.batch();
      long s = context.sequence();
      Tensor normed = norm.forward(x);
      Tensor raw = heads(queryKeyValue.forward(normed, context), b, s);
      Tensor fused = headNorms.map(norms -> norms.forward(raw)).orElse(raw);
      Tensor query =
          Tensors.empty(
              x.scalar_type(), x.device(), b, keyValueHeads(), group(), s, attention.headDim());
      Tensor key =
          Tensors.empty(x.scalar_type(), x.device(), b, keyValueHeads(), s, attention.headDim());
      Tensor value =
          Tensors.empty(x.scalar_type(), x.device(), b, keyValueHeads(), s, attention.headDim());
      rotate(queries(fused), query, context, Rope.Rotation.FORWARD, attention.scale());
      rotate(keys(fused), key, context, Rope.Rotation.FORWARD, 1);
      value.copy_(values(fused));
      key = key.view(b * keyValueHeads(), s, attention.headDim());
      value = value.view(b * keyValueHeads(), s, attention.headDim());

      Tensor attentionOutput =
          Tensors.empty(x.scalar_type(), x.device(), b * s, attention.queryWidth());
      List<Tensor> probabilities =
          core(context).forward(query, key, value, byHead(attentionOutput, b, s));
      Tensor mapped = output.forward(attentionOutput, context);
      Saved saved =
          new Saved(
              retained.retain(x),
              retained.retain(normed),
              headNorms.map(_ -> retained.retain(raw)),
              retained.retain(query),
              retained.retain(key),
              retained.retain(value),
              context.recomputeAttention()
                  ? Optional.empty()
                  : Optional.of(probabilities.stream().map(retained::retain).toList()),
              retained.retain(attentionOutput),
              end.save(mapped, retained));
      return new Output(scope.moveToOuter(end.forward(mapped, context)), saved);
    }
  }

  @Override
  public Tensor backward(Tape tape, Tensor gradient, ForwardContext context, Gradients gradients) {
    Saved saved = (Saved) tape;
    try (Scope scope = Scope.open()) {
      long b = context.batch();
      long s = context.sequence();
      long d = attention.headDim();
      Tensor g = end.backward(saved.end(), path.outputGradient(gradient), context, gradients);
      Tensor gMixed =
          output.backward(saved.attentionOutput(), g, context, gradients); // [b s, K G D]
      Tensor gHeads = byHead(gMixed, b, s);
      CausalAttention core = core(context);
      CausalAttention.Result result =
          saved.probabilities().isPresent()
              ? core.backward(
                  saved.query(), saved.key(), saved.value(), saved.probabilities().get(), gHeads)
              : core.recomputingBackward(saved.query(), saved.key(), saved.value(), gHeads);

      Tensor gFused =
          Tensors.empty(g.scalar_type(), g.device(), b, s, keyValueHeads() * (group() + 2), d);
      rotate(
          result.query().view(b, keyValueHeads(), group(), s, d),
          queries(gFused),
          context,
          Rope.Rotation.INVERSE,
          attention.scale());
      rotate(
          result.key().view(b, keyValueHeads(), s, d),
          keys(gFused),
          context,
          Rope.Rotation.INVERSE,
          1);
      values(gFused).copy_(result.value().view(b, keyValueHeads(), s, d));
      headNorms.ifPresent(norms -> norms.backward(saved.fused().orElseThrow(), gFused, gradients));
      Tensor gNormed =
          queryKeyValue.backward(
              saved.normed(),
              gFused.view(b * s, keyValueHeads() * (group() + 2) * d),
              context,
              gradients);
      return scope.moveToOuter(norm.backward(saved.x(), gNormed, gradients));
    }
  }

  /** The norms are the block's own and learn with it: there is nothing worth leaving out. */
  @Override
  public void backwardWeights(
      Tape tape, Tensor gradient, ForwardContext context, Gradients gradients) {
    try (Scope _ = Scope.open()) {
      backward(tape, gradient, context, gradients);
    }
  }

  @Override
  public Tensor generate(Tensor stream, DecodeContext rows, KeyValueCache cache) {
    try (Scope scope = Scope.open()) {
      Tensor rotated = rotated(path.input(stream), rows);
      Tensor query = rotated.narrow(1, 0, attention.heads());
      Tensor attended = cache.attend(attentionIndex, query, keyValue(rotated));
      return scope.moveToOuter(end.generate(output.forward(attended)));
    }
  }

  /**
   * Stores the keys and values of rows that do not pass this branch.
   *
   * @param x their hidden states, [n, h]
   */
  public void propagate(Tensor x, DecodeContext rows, KeyValueCache cache) {
    try (Scope _ = Scope.open()) {
      cache.store(attentionIndex, keyValue(rotated(x, rows)));
    }
  }

  /** Queries, keys and values, normed and rotated, [n, K G + 2 K, D]. */
  private Tensor rotated(Tensor x, DecodeContext rows) {
    Tensor fused =
        queryKeyValue
            .forward(norm.forward(x))
            .view(rows.count(), attention.heads() + 2 * keyValueHeads(), attention.headDim());
    return rows.applyRotary(headNorms.map(norms -> norms.forward(fused)).orElse(fused), type);
  }

  private Tensor keyValue(Tensor rotated) {
    return rotated.narrow(1, attention.heads(), 2 * keyValueHeads());
  }

  private CausalAttention core(ForwardContext context) {
    return new CausalAttention(context, attention, 4L * attentionIndex + 1);
  }

  /** [b s, (K G + 2 K) D] as [b, s, K G + 2 K, D]. */
  private Tensor heads(Tensor fused, long b, long s) {
    return fused.view(b, s, keyValueHeads() * (group() + 2), attention.headDim());
  }

  /** [b s, K G w] as [b, K, G, s, w], a view. */
  private Tensor byHead(Tensor x, long b, long s) {
    return x.view(b, s, keyValueHeads(), group(), -1).permute(0, 2, 3, 1, 4);
  }

  /** The queries' part of fused heads as [b, K, G, s, D]. */
  private Tensor queries(Tensor heads) {
    return heads
        .narrow(2, 0, keyValueHeads() * group())
        .view(heads.size(0), heads.size(1), keyValueHeads(), group(), attention.headDim())
        .permute(0, 2, 3, 1, 4);
  }

  /** The keys' part of fused heads as [b, K, s, D]. */
  private Tensor keys(Tensor heads) {
    return heads.narrow(2, keyValueHeads() * group(), keyValueHeads()).transpose(1, 2);
  }

  /** The values' part of fused heads as [b, K, s, D]. */
  private Tensor values(Tensor heads) {
    return heads.narrow(2, keyValueHeads() * (group() + 1), keyValueHeads()).transpose(1, 2);
  }

  /** Writes heads, rotated where the model does that, and times a factor. */
  private void rotate(
      Tensor x, Tensor out, ForwardContext context, Rope.Rotation rotation, double factor) {
    Optional<Rope.Angles> forward = context.angles(type);
    if (forward.isPresent()) {
      Rope.Angles angles = rotation.of(forward.get());
      Rope.rotate(x, factor == 1 ? angles : angles.times(factor), out);
    } else if (factor == 1) {
      out.copy_(x);
    } else {
      torch.mul_out(out, x, new Scalar(factor));
    }
  }
}
