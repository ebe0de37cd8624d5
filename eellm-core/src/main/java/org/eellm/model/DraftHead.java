package org.eellm.model;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.Architecture;
import org.eellm.config.HeadId;
import org.eellm.config.Learning;
import org.eellm.config.ModelConfig;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.ParameterLayout;
import org.eellm.model.parameter.ParameterName;
import org.eellm.model.parameter.ParameterSpec;
import org.eellm.model.parameter.Parameters;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;

/**
 * One layer that drafts from the final hidden state (EAGLE, arXiv 2401.15077; the multi-token
 * prediction of DeepSeek-V3, arXiv 2412.19437, section 2.2): {@code x_t = layer(W [norm(h_{t-1}),
 * norm(e_t)])}, where h is the stream after the last layer and e the token's embedding. Norm and
 * the model's output matrix predict the token behind t of it. In the place of the next h it goes on
 * by itself, a token at a time.
 *
 * @param hiddenNorm on h
 * @param embeddingNorm on e
 * @param projection W, [hidden, 2 hidden]
 * @param layer attention, with keys and values of its own, and MLP
 * @param output norm and output matrix
 */
public record DraftHead(
    Head head,
    Norm hiddenNorm,
    Norm embeddingNorm,
    Linear projection,
    List<Branch> layer,
    HeadLayers output) {
  private static final String LAYER = ParameterName.DRAFT_HEAD + "layer";
  private static final String PROJECTION = ParameterName.DRAFT_HEAD + "projection.weight";

  /** How large the hidden state's part of the projection begins, beside the embedding's. */
  private static final double HIDDEN_SHARE = 0.5;

  /** Where it stands: behind all other heads. */
  static Head place(Architecture architecture) {
    Head last = Head.of(architecture).getLast();
    return new Head(last.index() + 1, HeadId.DRAFT_HEAD, last.layer(), last.tap(), true);
  }

  /** The prefix of the names of its parameters of a layer, without the dot behind it. */
  static String layerName() {
    return LAYER;
  }

  static DraftHead of(
      Architecture architecture, Parameters parameters, List<Branch> layer, OutputMatrix output) {
    ModelConfig model = architecture.model();
    Head head = place(architecture);
    return new DraftHead(
        head,
        norm(model, parameters, "hidden_norm"),
        norm(model, parameters, "embedding_norm"),
        Linear.column(parameters, Learning.DRAFT_HEAD, List.of(PROJECTION), 0),
        layer,
        new HeadLayers(head, List.of(), norm(model, parameters, "norm"), output));
  }

  private static Norm norm(ModelConfig model, Parameters parameters, String name) {
    return Norm.of(true, model.norms(), parameters, ParameterName.DRAFT_HEAD + name);
  }

  /**
   * Begins as the first layer behind the embedding with a little of the hidden state, and with the
   * final norm: so it agrees with the model at nearly half the tokens before it has learned.
   *
   * @param parameters of the model, its own among them
   */
  static void start(ModelConfig model, Parameters parameters, long seed) {
    try (Scope _ = Scope.open()) {
      for (List<ParameterSpec> group : ParameterLayout.draftHead(model)) {
        for (ParameterSpec spec : group) {
          parameters.get(spec.name()).fill(first(spec, model, parameters, seed), 0, 1);
        }
      }
    }
  }

  private static Tensor first(
      ParameterSpec spec, ModelConfig model, Parameters parameters, long seed) {
    String name = spec.name();
    String own = ParameterName.DRAFT_HEAD + "norm.";
    if (name.startsWith(LAYER)) {
      return parameters.get(ParameterName.layer(0) + name.substring(LAYER.length())).value();
    }
    if (name.startsWith(own)) {
      return parameters.get("model.norm." + name.substring(own.length())).value();
    }
    Tensor drawn = spec.draw(model, seed);
    if (!name.equals(PROJECTION)) {
      return drawn;
    }
    Tensor embeddings = parameters.get(ParameterName.TOKENS.toString()).value();
    double size =
        model.embeddingScale()
            * embeddings.to(ScalarType.Float).square().mean().sqrt().item_double();
    long hidden = model.hiddenSize();
    drawn
        .narrow(1, 0, hidden)
        .mul_(new Scalar(HIDDEN_SHARE * size / (Math.sqrt(hidden) * model.initStd())));
    drawn.narrow(1, hidden, hidden).zero_().fill_diagonal_(new Scalar(size), false);
    return drawn;
  }

  /**
   * A pass over sequences, for the way back.
   *
   * @param before the states that it read, [b s, hidden]
   * @param joined what the projection multiplied, [b s, 2 hidden]
   * @param tapes of the layer's branches
   * @param top its own states, [b s, hidden]
   */
  public record Pass(Tensor before, Tensor joined, List<Branch.Tape> tapes, Tensor top) {}

  /**
   * Goes over sequences.
   *
   * @param states h at each position, or its own states of the pass before, [b s, hidden]
   * @param embedded e at each position, [b s, hidden]
   * @param retained owns the pass
   */
  public Pass forward(
      Tensor states, Tensor embedded, ForwardContext context, RetainedTensors retained) {
    try (Scope _ = Scope.open()) {
      Tensor before = retained.retain(moved(states, context, 1));
      Tensor joined =
          retained.retain(
              torch.cat(
                  new TensorVector(hiddenNorm.forward(before), embeddingNorm.forward(embedded)),
                  1));
      Tensor x = projection.forward(joined);
      List<Branch.Tape> tapes = new ArrayList<>();
      for (Branch branch : layer) {
        Branch.Output output = branch.forward(x, context, retained);
        tapes.add(output.tape());
        x = branch.path().add(x, output.delta());
      }
      return new Pass(before, joined, tapes, retained.retain(x));
    }
  }

  /**
   * The gradient of the states that a pass began with, [b s, hidden]; those of its parameters are
   * added.
   *
   * @param gradient of {@link Pass#top}
   */
  public Tensor backward(
      Pass pass, Tensor embedded, Tensor gradient, ForwardContext context, Gradients gradients) {
    try (Scope scope = Scope.open()) {
      Tensor g = gradient;
      for (int i = layer.size() - 1; i >= 0; i--) {
        Branch branch = layer.get(i);
        g = branch.path().gradient(g, branch.backward(pass.tapes().get(i), g, context, gradients));
      }
      Tensor both = projection.backward(pass.joined(), g, context, gradients);
      long hidden = g.size(1);
      embeddingNorm.backward(embedded, both.narrow(1, hidden, hidden).contiguous(), gradients);
      Tensor before =
          hiddenNorm.backward(pass.before(), both.narrow(1, 0, hidden).contiguous(), gradients);
      return scope.moveToOuter(moved(before, context, -1));
    }
  }

  /** Each sequence's rows moved by a position, with zeros in the place that becomes free. */
  private static Tensor moved(Tensor rows, ForwardContext context, int by) {
    Tensor out = torch.zeros_like(rows);
    long left = context.sequence() - 1;
    Tensor from = rows.view(context.batch(), context.sequence(), -1);
    Tensor to = out.view(context.batch(), context.sequence(), -1);
    to.narrow(1, Math.max(by, 0), left).copy_(from.narrow(1, Math.max(-by, 0), left));
    return out;
  }
}
