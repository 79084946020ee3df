/** The pages of the servers' own monitoring, as they come over HTTP. */

/**
 * What a server says of itself: its page `/streaming/serverz`. The names are the server's.
 * @category Cluster
 */
export interface Serverz {
  /** The cluster ID. */
  cluster_id: string;
  /** The ID of the server. It makes a new one at each start. */
  server_id: string;
  /** Version of the streaming server. */
  version: string;
  /** `CLUSTERED`, `FT_ACTIVE`, `FT_STANDBY`, `STANDALONE`, `FAILED` or `SHUTDOWN`. */
  state: string;
  /** Its role in Raft, when clustered only. It says `Leader` before the server is ready to serve. */
  role?: 'Leader' | 'Follower' | 'Candidate' | 'Shutdown';
  /** Its name in Raft, when clustered only. */
  node_id?: string;
  /** How many clients are registered. */
  clients: number;
  /** How many subscriptions there are. */
  subscriptions: number;
  /** How many channels there are. */
  channels: number;
  /** How many messages are stored, in all channels. */
  total_msgs: number;
}

/**
 * What a server says of a subscription. The names are the server's.
 * @category Cluster
 */
export interface SubscriptionMonitor {
  /** The client ID. */
  client_id: string;
  /** The subject to which messages are sent. */
  inbox: string;
  /** Name of the durable, if it is one. */
  durable_name?: string;
  /** Name of the queue group, if it is in one. */
  queue_name?: string;
  /** Whether it is durable. */
  is_durable: boolean;
  /** Whether it is a durable that nobody is subscribed to now. */
  is_offline: boolean;
  /** How many messages may be sent before the first is acknowledged. */
  max_inflight: number;
  /** Time after which an unacknowledged message is sent again, in seconds. */
  ack_wait: number;
  /** The highest sequence that was sent to it. */
  last_sent: number;
  /** How many messages are sent and not acknowledged. */
  pending_count: number;
  /** Whether nothing more is sent, because `max_inflight` is reached. */
  is_stalled: boolean;
}

/**
 * What a server says of a channel: its page `/streaming/channelsz`. The names are the server's.
 * @category Cluster
 */
export interface Channelz {
  /** Name of the channel. */
  name: string;
  /** How many messages are stored. */
  msgs: number;
  /** Size of these messages, in bytes. */
  bytes: number;
  /** The lowest sequence that is stored. */
  first_seq: number;
  /** The highest sequence that is stored. */
  last_seq: number;
  /** How many subscriptions there are. */
  subs_count?: number;
  /** The subscriptions. */
  subscriptions?: SubscriptionMonitor[];
}

/**
 * What a server says of its clients: its page `/streaming/clientsz`. The names are the server's.
 * @category Cluster
 */
export interface Clientsz {
  /** How many clients are registered. */
  total: number;
  /** The clients. */
  clients: {
    /** The client ID. */
    id: string;
    /** The subject to which heartbeats are sent. */
    hb_inbox: string;
    /** How many subscriptions the client has. */
    subs_count?: number;
  }[];
}

/**
 * What a server says of its connections to other servers: its page `/routez`. The names are the server's.
 * @category Cluster
 */
export interface Routez {
  /** The ID of the server that is asked. */
  server_id: string;
  /** How many routes there are. */
  num_routes: number;
  /** The routes. */
  routes: {
    /** The ID of the other server. */
    remote_id: string;
    /** The name of the other server. */
    remote_name?: string;
    /** How many messages have come from it. */
    in_msgs: number;
    /** How many messages went to it. */
    out_msgs: number;
    /** Size of the messages that have come from it, in bytes. */
    in_bytes: number;
    /** Size of the messages that went to it, in bytes. */
    out_bytes: number;
  }[];
}

/**
 * What a server says of one of its streams: a part of its page `/jsz`. The names are the server's.
 * @category Cluster
 */
export interface JszStream {
  /** Name of the stream. */
  name: string;
  /** What is stored. */
  state: {
    /** How many messages are stored. */
    messages: number;
    /** Size of these messages, in bytes. */
    bytes: number;
    /** The lowest sequence that is stored. */
    first_seq: number;
    /** The highest sequence that was stored. */
    last_seq: number;
    /** How many consumers there are. */
    consumer_count: number;
  };
  /** The servers that have the stream, when clustered only. */
  cluster?: {
    /** Name of the server that leads the stream. */
    leader?: string;
    /** The other servers. */
    replicas?: JszReplica[];
  };
}

/**
 * What a leader of JetStream says of another server. The names are the server's.
 * @category Cluster
 */
export interface JszReplica {
  /** Name of the server. */
  name: string;
  /** Whether it has everything. */
  current: boolean;
  /** Whether it cannot be reached. */
  offline?: boolean;
  /** How many operations it has still to get. */
  lag?: number;
}

/**
 * What a server says of its JetStream: its page `/jsz`. The names are the server's.
 * @category Cluster
 */
export interface Jsz {
  /** The ID of the server. It makes a new one at each start. */
  server_id: string;
  /** Whether it has no JetStream. */
  disabled?: boolean;
  /** How many streams there are. */
  streams: number;
  /** How many consumers there are. */
  consumers: number;
  /** How many messages are stored, in all streams. */
  messages: number;
  /** Size of these messages, in bytes. */
  bytes: number;
  /** The servers that decide together on streams, when clustered only. */
  meta_cluster?: {
    /** Name of the server that leads. */
    leader?: string;
    /** How many servers there are, also those that are down. */
    cluster_size: number;
    /** The other servers, as the leader sees them. */
    replicas?: JszReplica[];
  };
  /** The streams of each account, when they were asked for. */
  account_details?: {
    /** Name of the account. */
    name: string;
    /** The streams that this server has. */
    stream_detail?: JszStream[];
  }[];
}
