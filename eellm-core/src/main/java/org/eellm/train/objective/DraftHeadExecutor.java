package org.eellm.train.objective;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.eellm.model.Decoder;
import org.eellm.model.DraftHead;
import org.eellm.model.ForwardContext;
import org.eellm.model.parameter.Gradients;
import org.eellm.tensor.OwnedTensor;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.train.objective.HeadLoss.Reference;
import org.eellm.train.objective.HeadLoss.Target.Teacher;
import org.eellm.train.objective.HeadLoss.TokenWeights;
import org.eellm.train.objective.HeadTuningExecutor.HeadScore;
import org.eellm.train.objective.StageExecutor.HeadResult;

/**
 * Through a draft head and back: it learns what the final head says of the token behind each
 * position, then, from its own states, of the one behind that, and so on (EAGLE-3, arXiv
 * 2503.01840, section 3.1). In a pass from its own states its keys and values are of such, too,
 * where drafts later see those of verified states before.
 *
 * @param top the stream after the last layer, [b s, hidden]
 * @param embedded the tokens' embeddings, [b s, hidden]
 * @param teacher the final head
 */
record DraftHeadExecutor(
    DraftHead head,
    Tensor top,
    Tensor embedded,
    Teacher teacher,
    ForwardContext context,
    DeviceBatch batch) {

  static DraftHeadExecutor of(
      Decoder model, DraftHead head, Tensor top, ForwardContext context, DeviceBatch batch) {
    var last = model.finalHead().orElseThrow();
    return new DraftHeadExecutor(
        head,
        top,
        model.embedding().forward(batch.inputs(), context),
        new Teacher(last.normed(top), last.output()),
        context,
        batch);
  }

  /**
   * The weighted sum of the losses; its gradients, times a token's weight, are added.
   *
   * @param weights of the loss of the next token, of the one behind it, and so on
   */
  HeadResult learn(List<Double> weights, double tokenWeight, Gradients gradients) {
    try (Scope scope = Scope.open();
        RetainedTensors retained = new RetainedTensors()) {
      List<DraftHead.Pass> passes = new ArrayList<>();
      List<Tensor> slopes = new ArrayList<>(); // of the passes' states, by their own losses
      Tensor sum = torch.zeros_like(batch.mask().select(0, 0));
      Tensor states = top;
      for (int depth = 0; depth < weights.size(); depth++) {
        DraftHead.Pass pass = head.forward(states, embedded, context, retained);
        HeadLoss.Result result =
            HeadLoss.forwardBackward(
                head.output().normed(pass.top()),
                head.output().output(),
                teacher,
                new TokenWeights(mask(depth), weights.get(depth) * tokenWeight, false),
                1,
                gradients);
        sum.add_(result.loss(), new Scalar(weights.get(depth)));
        slopes.add(head.output().normBackward(pass.top(), result.gradient(), gradients));
        passes.add(pass);
        states = pass.top();
      }
      try (OwnedTensor g = new OwnedTensor(slopes.getLast())) {
        for (int depth = passes.size() - 1; depth > 0; depth--) {
          Tensor below = head.backward(passes.get(depth), embedded, g.get(), context, gradients);
          g.set(below.add_(slopes.get(depth - 1)));
        }
        head.backward(passes.getFirst(), embedded, g.get(), context, gradients);
      }
      return new HeadResult(
          head.head().index(), head.head().id(), scope.moveToOuter(sum), batch.counted());
    }
  }

  /** Without the first positions, before which there are no such states. */
  private Tensor mask(int depth) {
    Tensor mask = batch.mask().clone();
    mask.view(context.batch(), context.sequence()).narrow(1, 0, depth + 1).zero_();
    return mask;
  }

  /** Loss, accuracy and agreement of the next token. */
  HeadScore score() {
    try (Scope scope = Scope.open();
        RetainedTensors retained = new RetainedTensors()) {
      DraftHead.Pass pass = head.forward(top, embedded, context, retained);
      Tensor sums =
          HeadLoss.score(
              head.output().normed(pass.top()),
              head.output().output(),
              new Reference(batch.targets(), Optional.of(teacher)),
              batch.mask());
      return new HeadScore(
          head.head().index(), head.head().id(), scope.moveToOuter(sums), batch.counted());
    }
  }
}
