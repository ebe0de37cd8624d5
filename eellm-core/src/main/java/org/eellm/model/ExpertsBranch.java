package org.eellm.model;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.T_TensorTensor_T;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.Experts;
import org.eellm.config.ModelConfig;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.ParameterName;
import org.eellm.model.parameter.Parameters;
import org.eellm.model.parameter.Weight;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * An MLP of {@link Experts}. The rows of a batch go to each expert together. An expert is split
 * over tensor-parallel ranks as an MLP is; all of them have the router, in float32 sums.
 *
 * @param router [experts, h]
 * @param mlp an expert, with this rank's part of the inner width
 */
public record ExpertsBranch(
    Norm norm,
    Weight router,
    List<Expert> all,
    Experts experts,
    ModelConfig.Mlp mlp,
    TensorParallel parallel,
    BranchEnd end,
    ResidualPath path)
    implements Branch {
  private static final long[] LAST = {1};
  private static final String FROZEN = "experts do not learn, nor do layers below them";

  /**
   * @param up gate and up stacked, [2 ffn, h]
   * @param down [h, ffn]
   */
  record Expert(Weight up, Weight down) {}

  /** No backward pass follows. */
  record Nothing() implements Tape {}

  public ExpertsBranch {
    all = List.copyOf(all);
  }

  /**
   * @param layer prefix of its names
   * @param slot tells its dropout apart
   */
  static ExpertsBranch of(ModelConfig model, Parameters parameters, String layer, int slot) {
    String name = layer + ".mlp";
    TensorParallel parallel = parameters.tensorParallel();
    return new ExpertsBranch(
        Norm.of(
            model.normPlacement().before(),
            model.norms(),
            parameters,
            layer + ".post_attention_layernorm"),
        parameters.weight(ParameterName.router(name)),
        IntStream.range(0, model.experts().count())
            .mapToObj(index -> ParameterName.expert(name, index))
            .map(
                expert ->
                    new Expert(
                        parameters.weight(expert + ".gate_proj.weight"),
                        parameters.weight(expert + ".down_proj.weight")))
            .toList(),
        model.experts(),
        model.expert().shard(parallel.size()),
        parallel,
        BranchEnd.of(model, parameters, layer + ".mlp_output_norm", 4L * slot + 3),
        ResidualPath.ofMlp(model));
  }

  @Override
  public Output forward(Tensor stream, ForwardContext context, RetainedTensors retained) {
    try (Scope scope = Scope.open()) {
      Tensor output = mix(norm.forward(path.input(stream)));
      return new Output(scope.moveToOuter(end.forward(output, context)), new Nothing());
    }
  }

  @Override
  public Tensor backward(Tape tape, Tensor g, ForwardContext context, Gradients gradients) {
    throw new IllegalStateException(FROZEN);
  }

  @Override
  public void backwardWeights(Tape tape, Tensor g, ForwardContext context, Gradients gradients) {
    throw new IllegalStateException(FROZEN);
  }

  @Override
  public Tensor generate(Tensor stream, DecodeContext rows, KeyValueCache cache) {
    try (Scope scope = Scope.open()) {
      return scope.moveToOuter(end.generate(mix(norm.forward(path.input(stream)))));
    }
  }

  /** The weighted outputs of each row's experts, added in the experts' order, [local rows, h]. */
  private Tensor mix(Tensor normed) {
    Tensor x = parallel.gather(normed);
    Tensor scores = torch.linear(x.to(ScalarType.Float), router.value().to(ScalarType.Float));
    Tensor probabilities = torch.softmax(scores, -1);
    T_TensorTensor_T chosen = torch.topk(probabilities, experts.perToken()); // [n, per token]
    Tensor weights = chosen.get0();
    if (experts.normWeights()) {
      weights = weights.div(weights.sum(LAST).unsqueeze(1));
    }
    Tensor flat = weights.to(x.scalar_type()).view(-1, 1);
    Tensor sum = torch.zeros_like(x);
    List<List<Long>> places = places(Tensors.toLongs(chosen.get1()));
    for (int i = 0; i < all.size(); i++) {
      if (!places.get(i).isEmpty()) {
        add(all.get(i), places.get(i), x, flat, sum);
      }
    }
    return parallel.reduce(sum);
  }

  /** Where each expert stands among all rows' choices. */
  private List<List<Long>> places(long[] chosen) {
    List<List<Long>> places = new ArrayList<>();
    for (int i = 0; i < experts.count(); i++) {
      places.add(new ArrayList<>());
    }
    for (int i = 0; i < chosen.length; i++) {
      places.get((int) chosen[i]).add((long) i);
    }
    return places;
  }

  /** Adds an expert's outputs for the rows that chose it, times their weights. */
  private void add(Expert expert, List<Long> places, Tensor x, Tensor weights, Tensor sum) {
    try (Scope _ = Scope.open()) {
      long[] choices = places.stream().mapToLong(Long::longValue).toArray();
      long[] rows = places.stream().mapToLong(place -> place / experts.perToken()).toArray();
      Tensor own = Tensors.ofLongs(rows, x.device(), rows.length);
      Tensor inner = expert.up().times(x.index_select(0, own));
      Tensor y = expert.down().times(MlpBranch.activate(inner, mlp));
      Tensor factors = weights.index_select(0, Tensors.ofLongs(choices, x.device(), rows.length));
      sum.index_add_(0, own, y.mul_(factors));
    }
  }
}
