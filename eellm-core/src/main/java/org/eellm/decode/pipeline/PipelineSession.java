package org.eellm.decode.pipeline;

import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.World;
import org.eellm.distributed.collective.Communicator;
import org.eellm.distributed.message.PeerChannel;
import org.eellm.kernel.matmul.SumOrder;
import org.eellm.model.DecodingModel;

/** A session on the stages of a world: the first one decides, and the later ones serve it. */
public final class PipelineSession {
  private PipelineSession() {}

  /**
   * Does some work on the ranks of the first stage, whose {@link PipelineRunner}s the later stages
   * serve meanwhile.
   *
   * @param model this rank's part
   * @param work gets links to the later stages, if there are any
   * @return what the work returns; nothing on later stages
   * @throws DistributedException if another rank fails; the message names it. Or if ranks would add
   *     up products in different orders
   */
  public static <T> Optional<T> run(
      World world, DecodingModel model, Function<Optional<StageLinks>, T> work) {
    requireOneOrder(world);
    if (world.pp().size() == 1) {
      return Optional.of(work.apply(Optional.empty()));
    }
    try (PeerChannel channel = world.stageChannel()) {
      Optional<T> result = Optional.empty();
      if (world.pp().rank() > 0) {
        new StageService(channel, model).run();
      } else {
        StageLinks links = new StageLinks(channel, world.pp().size());
        result = Optional.of(work.apply(Optional.of(links)));
        links.leave();
      }
      channel.end();
      return result;
    }
  }

  /** Refuses ranks that would give the same row different numbers. */
  static void requireOneOrder(World world) {
    requireOneOrder("tensor-parallel rank", world.tp());
    requireOneOrder("pipeline stage", world.pp());
  }

  private static void requireOneOrder(String member, Communicator group) {
    if (group.size() > 1) {
      requireOneOrder(member, group.gatherTexts(SumOrder.chosen().text()));
    }
  }

  static void requireOneOrder(String member, List<String> orders) {
    if (Set.copyOf(orders).size() > 1) {
      throw new DistributedException(
          ("ranks add up bfloat16 in different orders, by %s: %s; set"
                  + " EELLM_JAVA_OPTS=-D%s=%s on all machines")
              .formatted(
                  member, String.join(", ", orders), SumOrder.PROPERTY, SumOrder.CHAIN.text()));
    }
  }
}
