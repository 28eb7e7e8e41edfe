package decisions

// Template is the commented file that is made when there is none. It decides
// nothing.
func Template() []byte { return []byte(template) }

const template = `# Your decisions about this lift. statelift reads this file and never changes it.
# Nothing here is needed: what you do not decide, statelift derives and explains
# (statelift explain PATH). Remove the leading "# " of what you want to say.
#
# Paths are as statelift prints them: a backslash is \\, a newline \n, and a byte
# that is no printable character \xHH.

# name: blog                  # prefix of what is made; default: the host's name
# namespace: blog

# Overrule where paths go. Classes: image config secret volume object share
# ephemeral drop. A path stands for everything below it; with * ? [ it is a
# pattern (** for any number of directories); reach says what it is when that
# is not so: exact for the path alone, tree, glob.
# paths:
# - path: /srv/archive
#   class: object
#   reason: nobody reads it by path any more
# - path: /var/www/**/*.bak
#   class: drop
# - path: /srv/readme.txt
#   reach: exact
#   class: image

# Do without files that could not be read, or with all such below a directory.
# accept:
# - path: /home/old/.gvfs
#   reason: a stale FUSE mount

# Units that become a workload, or do not. Cron jobs are cron:NAME.
# units:
# - unit: rsyslog.service
#   keep: true
# - unit: munin-node.service
#   leaveOut: true
#   reason: the cluster has its own monitoring

# Switch off rules and profiles by the names that explain shows.
# rules:
#   off: [host/core-dumps]
# profiles:
#   off: [wordpress]
#   use: {myapp.service: generic-unit}

# Workloads: their names, which units they are made of, kind, replicas.
# workloads:
# - name: blog
#   units: [apache2.service, mariadb.service]
#   together: true            # containers of one Pod
# - name: counter
#   units: [tallyd.service]
#   split: true               # each unit a Pod of its own
#   kind: Deployment          # or StatefulSet
#   replicas: 2
#
# What lives outside the cluster's volumes. A database: its dump is restored into
# a server elsewhere, and its clients are led there. The user may make databases
# and accounts; the password is in a variable, or in a file of mode 0600.
# - name: database
#   units: [postgresql@15-main.service]
#   externalize: database
#   server:
#     host: db.example.org
#     port: 5432
#     databases: [shop]       # by default all
#     user: admin
#     passwordEnv: DB_ADMIN_PASSWORD
#     tls: verify             # or require, disable: how the dump travels
#     caFile: /etc/ssl/certs/db-ca.pem
# - name: archive
#   units: [mysql.service]
#   externalize: database
#   server:
#     host: 192.0.2.7
#     user: admin
#     passwordFile: /etc/statelift/archive.password
#
# Directories of media: objects in the bucket, brought into each Pod when it starts.
# - name: gallery
#   units: [nginx.service]
#   replicas: 3
#   externalize: objects
#   directories: [/srv/gallery]
#   readOnly: true            # what the workload writes there goes with its Pod

# volumes:
# - path: /var/lib/mysql
#   name: database
#   size: 20Gi
#   storageClass: fast
#   accessMode: ReadWriteOnce
# - path: /srv/uploads
#   headroom: 0.5             # half as much again
# A database that serves, or was not shut down, is no copy when it is copied, but
# when SOURCE is a snapshot of all its file systems at one moment:
# - path: /var/lib/postgresql
#   consistent: snapshot

# Answers to the questions of the report, by their names.
# answers: {}

# Images go by their digests; in a registry (statelift run --registry) they get
# this tag as well. Labels are added to those that say what they came from.
# images:
#   tag: "1.0"
#   labels: {org.opencontainers.image.vendor: Example Ltd}

# The host's own names and addresses, to be found in configuration.
# host:
#   names: [web1.example.org]
#   addresses: [192.0.2.10]
#   timeZone: Europe/Paris

# What must work when the lift has come to its end in a cluster. A page of a
# workload (or of any Service of the namespace, with its port), and a command in
# a container.
# smoke:
# - name: front page
#   http:
#     workload: blog
#     port: 443
#     tls: true               # the certificate is the host's own, and not verified
#     path: /
#     host: blog.example.org  # the header
#     status: 200
#     contains: Welcome
# - http: {service: gateway, port: 8080, path: /health}
# - exec:
#     workload: blog
#     container: mariadb
#     command: [mariadb, -N, -e, "SELECT COUNT(*) FROM blog.posts"]
#     status: 0
#     contains: "200"
#   seconds: 60               # with all attempts
`
