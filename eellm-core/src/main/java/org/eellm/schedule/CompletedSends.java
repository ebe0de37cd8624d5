package org.eellm.schedule;

import static java.util.Objects.requireNonNull;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.eellm.schedule.Action.Compute;
import org.eellm.schedule.Action.Receive;
import org.eellm.schedule.Action.Send;
import org.eellm.schedule.StageMessages.Channel;

/**
 * The sends that a message proves complete. A stage that has sent something was done with
 * everything it had received for its computations until then; so whoever receives it knows that
 * sends of its own have arrived, and may free what they sent without ever waiting for it.
 *
 * @param proven for each receive of the stage, in the order of use, the sends that are known to be
 *     done with it and were not before; without those that prove nothing
 */
public record CompletedSends(Map<Receive, List<Send>> proven) {

  /** The receipts of a stage. */
  public static CompletedSends of(Schedule schedule, int stage) {
    StageMessages messages = new StageMessages(schedule.stages(), schedule.chunks());
    Map<Integer, Peer> peers = new HashMap<>();
    Map<Channel, List<Send>> open = new HashMap<>();
    Map<Receive, List<Send>> proven = new LinkedHashMap<>();
    for (Action action : schedule.actions().get(stage)) {
      if (action instanceof Send send) {
        open.computeIfAbsent(messages.channel(send, stage), _ -> new ArrayList<>()).add(send);
      }
      Optional<Receive> awaited =
          action instanceof Compute compute ? messages.receiveOf(compute, stage) : Optional.empty();
      awaited.ifPresent(
          receive -> {
            int from = messages.channel(receive, stage).from();
            Peer peer = peers.computeIfAbsent(from, _ -> Peer.of(schedule, messages, from));
            int sent = requireNonNull(peer.sent().get(receive));
            List<Send> done = new ArrayList<>();
            Iterator<Send> sends =
                open.getOrDefault(new Channel(stage, from), List.of()).iterator();
            while (sends.hasNext()) {
              Send send = sends.next();
              if (requireNonNull(peer.used().get(messages.matchingReceive(send, stage))) < sent) {
                done.add(send);
                sends.remove();
              }
            }
            if (!done.isEmpty()) {
              proven.put(receive, done);
            }
          });
    }
    return new CompletedSends(proven);
  }

  /** The sends that are known to be done once a receive is. */
  public List<Send> of(Receive receive) {
    return proven.getOrDefault(receive, List.of());
  }

  /**
   * Places in another stage's list.
   *
   * @param used where it computes with what a receive brought
   * @param sent where it sends what another stage's receive brings
   */
  private record Peer(Map<Receive, Integer> used, Map<Receive, Integer> sent) {
    static Peer of(Schedule schedule, StageMessages messages, int stage) {
      Map<Receive, Integer> used = new HashMap<>();
      Map<Receive, Integer> sent = new HashMap<>();
      List<Action> actions = schedule.actions().get(stage);
      for (int i = 0; i < actions.size(); i++) {
        int place = i;
        switch (actions.get(i)) {
          case Compute compute ->
              messages.receiveOf(compute, stage).ifPresent(receive -> used.put(receive, place));
          case Send send -> sent.put(messages.matchingReceive(send, stage), place);
          case Receive _ -> {}
        }
      }
      return new Peer(used, sent);
    }
  }
}
