package org.eellm.schedule;

import org.eellm.schedule.Action.Backward;
import org.eellm.schedule.Action.BackwardWeights;
import org.eellm.schedule.Action.Forward;
import org.eellm.schedule.Action.ReceiveActivation;
import org.eellm.schedule.Action.ReceiveGradient;
import org.eellm.schedule.Action.SendActivation;
import org.eellm.schedule.Action.SendGradient;
import org.eellm.schedule.Action.Tune;
import org.eellm.schedule.MicrobatchId.CooldownFill;
import org.eellm.schedule.MicrobatchId.Regular;
import org.eellm.schedule.MicrobatchId.WarmupFill;

/** Actions in the words of messages: "the backward pass of microbatch 3 through chunk 0". */
final class ActionNames {
  private ActionNames() {}

  static String of(Action action) {
    String what =
        switch (action) {
          case Forward _ -> "the forward pass";
          case Backward _ -> "the backward pass";
          case BackwardWeights _ -> "the weight gradients";
          case Tune _ -> "the tuning pass";
          case ReceiveActivation _ -> "the receive of the activation";
          case SendActivation _ -> "the send of the activation";
          case ReceiveGradient _ -> "the receive of the gradient";
          case SendGradient _ -> "the send of the gradient";
        };
    return "%s of %s, chunk %d,".formatted(what, of(action.microbatch()), action.chunk());
  }

  static String of(MicrobatchId id) {
    return switch (id) {
      case Regular(int index) -> "microbatch " + index;
      case WarmupFill(int index, int stages) ->
          "warm-up fill %d through %d stages".formatted(index, stages);
      case CooldownFill(int index, int firstStage) ->
          "cool-down fill %d back to stage %d".formatted(index, firstStage);
    };
  }
}
